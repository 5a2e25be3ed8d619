// What EasyDeL does without a word: done in faithful mode, refused in checked
// mode. And what its classes give otherwise.
#include <catch2/catch.hpp>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/goldens.h"
#include "systems/slab_copy.h"

namespace kvtape::easydel {
namespace {

using Catch::Matchers::Contains;
using test::counted;
using test::int_row;
using test::same;
using Methods = EasyDeLQuantizationMethods;

constexpr EasyQuantizer k8Bit{.quantization_method = Methods::kA8Bit};

TransformerCacheMetaData metadata(std::int64_t batch = 2,
                                  std::int64_t length = 4) {
  return CacheMetadata::create({.batch_size = batch,
                                .sequence_length = length,
                                .num_hidden_layers = 2,
                                .pad_token_id = 0,
                                .num_heads = 2,
                                .head_dim = 4});
}

TransformerCacheView view_at(const std::vector<std::int32_t>& index,
                             std::int64_t length = 4,
                             DType dtype = DType::kF32) {
  auto view =
      TransformerCacheView::init(metadata(std::ssize(index), length), dtype);
  view.index = int_row(index);
  return view;
}

Tensor all_ones(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  Tensor mask = counted(sizes, DType::kBool);
  return make_tensor(
      DType::kBool, mask.axes,
      std::vector<std::byte>(static_cast<std::size_t>(count), std::byte{1}));
}

Concatenation tokens(std::int64_t batch, std::int64_t count,
                     std::int64_t length = 4, float from = 100) {
  return {.query_length = count,
          .key = counted({batch, count, 2, 4}, DType::kF32, from),
          .value = counted({batch, count, 2, 4}, DType::kF32, from),
          .attention_mask = all_ones({batch, length})};
}

// Numbers of one slot of a [1, ...] cache, 8 to a slot.
double first_of_slot(const Tensor& tensor, std::size_t slot) {
  return doubles(tensor)[slot * 8];
}

TransformerCache cache_of(std::int64_t batch, std::int64_t length, float from,
                          std::size_t layers = 2) {
  TransformerCache cache;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    auto view =
        TransformerCacheView::init(metadata(batch, length), DType::kF32);
    view.key = counted({batch, length, 2, 4}, DType::kF32, from);
    view.value = counted({batch, length, 2, 4}, DType::kF32, from);
    cache.views.push_back(view);
  }
  return cache;
}

}  // namespace

TEST_CASE("a write past the end is clamped and overwrites the newest tokens") {
  const auto view = view_at({4});
  const auto arguments = tokens(1, 1);
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("one to slots [4, 5)") &&
                        Contains("EasyDeL writes to slots [3, 4)"));
  const auto given = view.concatenate_to_cache(arguments, Mode::kFaithful);
  CHECK(first_of_slot(given.key, 3) == 100);
  CHECK(integers(given.view.index) == std::vector<std::int64_t>{5});
  CHECK(integers(given.mask) == std::vector<std::int64_t>{1, 1, 1, 1});
}

TEST_CASE("a negative index wraps once") {
  const auto view = view_at({-2});
  CHECK_THROWS_WITH(view.concatenate_to_cache(tokens(1, 1)),
                    Contains("EasyDeL writes to slots [2, 3)"));
  const auto given = view.concatenate_to_cache(tokens(1, 1), Mode::kFaithful);
  CHECK(first_of_slot(given.key, 2) == 100);
  CHECK(integers(given.view.index) == std::vector<std::int64_t>{-1});
  CHECK(integers(given.mask) == std::vector<std::int64_t>{0, 0, 0, 0});
}

TEST_CASE("the index advances by the query's length, not the key's") {
  auto arguments = tokens(1, 2);
  arguments.query_length = 1;
  const auto view = view_at({0});
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("writes 2 and advances the index by 1"));
  const auto given = view.concatenate_to_cache(arguments, Mode::kFaithful);
  CHECK(first_of_slot(given.key, 1) == 108);
  CHECK(integers(given.view.index) == std::vector<std::int64_t>{1});
}

TEST_CASE("fewer heads are written into the low corner") {
  auto arguments = tokens(1, 1);
  arguments.key = counted({1, 1, 1, 4}, DType::kF32, 100);
  const auto view = view_at({0});
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("EasyDeL writes the low corner"));
  const auto given = view.concatenate_to_cache(arguments, Mode::kFaithful);
  CHECK(doubles(given.key)[3] == 103);
  CHECK(doubles(given.key)[4] == 0);
}

TEST_CASE("rows of the causal mask are clamped") {
  auto arguments = tokens(1, 1);
  Tensor causal = all_ones({1, 1, 2, 4});
  causal.axes[1].kind = AxisKind::kHead;
  causal.axes[2].kind = AxisKind::kToken;
  causal.axes[3].kind = AxisKind::kPosition;
  arguments.causal_mask = causal;
  const auto view = view_at({3});
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("EasyDeL takes its last rows"));
  CHECK(integers(view.concatenate_to_cache(arguments, Mode::kFaithful).mask) ==
        std::vector<std::int64_t>{1, 1, 1, 1});
}

TEST_CASE("token types of several rows mix batch and query") {
  auto arguments = tokens(2, 2, 2);
  Tensor causal = all_ones({1, 1, 2, 2});
  causal.axes[1].kind = AxisKind::kHead;
  causal.axes[2].kind = AxisKind::kToken;
  causal.axes[3].kind = AxisKind::kPosition;
  std::vector<std::byte> none(4);
  arguments.causal_mask = make_tensor(DType::kBool, causal.axes, none);
  // Row 0: types 0 0, row 1: types 1 1.
  Tensor types = counted({2, 2}, DType::kI32, 0);
  std::vector<std::byte> bytes(16);
  bytes[8] = bytes[12] = std::byte{1};
  arguments.token_type_ids = make_tensor(DType::kI32, types.axes, bytes);
  const auto view = view_at({0, 0}, 2);
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("EasyDeL reads batch rows as query rows"));
  // [batch, query, position]: type(query, position) != 0, so query row 1.
  CHECK(integers(view.concatenate_to_cache(arguments, Mode::kFaithful).mask) ==
        std::vector<std::int64_t>{0, 0, 1, 1, 0, 0, 1, 1});
}

TEST_CASE("a sliding window hides nothing while decoding") {
  const AttentionModule module{.sliding_window = 2};
  const auto view = view_at({3});
  CHECK_THROWS_WITH(module.concatenate(view, tokens(1, 1)),
                    Contains("EasyDeL counts the window from the start"));
  const auto given = module.concatenate(view, tokens(1, 1), Mode::kFaithful);
  CHECK(integers(given.mask) == std::vector<std::int64_t>{1, 1, 1, 1});
  const auto prefill = module.concatenate(view_at({0}), tokens(1, 3));
  CHECK(integers(prefill.mask) ==
        std::vector<std::int64_t>{1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0});
}

TEST_CASE("the decode operator ignores masks and reads starts") {
  auto view = view_at({2});
  view.starts = int_row({1});
  const auto given = AttentionModule{}.concatenate(view, tokens(1, 1));
  CHECK(integers(given.mask) == std::vector<std::int64_t>{1, 1, 1, 0});
  CHECK_THROWS_WITH(decode_mask(given.view, given.mask),
                    Contains("EasyDeL's decode operator ignores it"));
  const Tensor seen = decode_mask(given.view, given.mask, Mode::kFaithful);
  CHECK(integers(seen) == std::vector<std::int64_t>{0, 1, 1, 0});
}

TEST_CASE("mask values other than 0 and 1 are false in attention") {
  auto arguments = tokens(1, 1);
  arguments.attention_mask = counted({1, 4}, DType::kI32, 1);  // 1 2 3 4
  const auto view = view_at({3});
  CHECK_THROWS_WITH(AttentionModule{}.concatenate(view, arguments),
                    Contains("attention_mask: expected 0 and 1"));
  CHECK(integers(AttentionModule{}
                     .concatenate(view, arguments, Mode::kFaithful)
                     .mask) == std::vector<std::int64_t>{1, 0, 0, 0});
  CHECK(integers(view.concatenate_to_cache(arguments).mask) ==
        std::vector<std::int64_t>{1, 1, 1, 1});
}

TEST_CASE("NF4 leaves an array that block_size does not divide") {
  const EasyQuantizer quantizer{.block_size = 24};
  auto m = metadata(1);
  m.value_dim = 3;  // 24 elements, and 32 of the keys
  CHECK_THROWS_WITH(TransformerCacheView::init(m, DType::kF32, quantizer),
                    Contains("EasyDeL leaves f32 [1, 4, 2, 4] as it is"));
  const auto view = TransformerCacheView::init(m, DType::kF32, quantizer, {},
                                               {}, Mode::kFaithful);
  CHECK_FALSE(view.key->quantized());
  REQUIRE(view.value->quantized());
  CHECK(view.value->quantization.block_size == 3);
  for (const std::byte each : view.value->source->bytes())
    CHECK(each == std::byte{0xff});
  CHECK(same(materialize(*view.value),
             *TransformerCacheView::init(m, DType::kF32).value));
}

// Not refused in checked mode: it happens to every 8-bit cache of f16, and to
// a fifth of the rows of bf16, with every token.
TEST_CASE("quantizing again changes old f16 tokens") {
  auto view = TransformerCacheView::init(metadata(1), DType::kF16, k8Bit);
  auto arguments = tokens(1, 1);
  arguments.quantizer = k8Bit;
  // Rows up to 0.01: a scale of f16 is 2^-14 too large for them.
  std::vector<std::byte> bytes(16);
  for (std::size_t i = 0; i < 8; ++i)
    store_number(0.01 * static_cast<double>(i + 1) / 8, DType::kF16,
                 bytes.data() + 2 * i);
  const Tensor small = make_tensor(DType::kF16, arguments.key.axes, bytes);
  arguments.key = arguments.value = small;
  const auto first = view.concatenate_to_cache(arguments);
  const auto second = first.view.concatenate_to_cache(arguments);
  // The step itself attends to what it was given, later ones do not.
  CHECK(doubles(first.key)[7] == doubles(small)[7]);
  CHECK(doubles(*first.view.key)[7] > doubles(small)[7]);
  CHECK(doubles(*second.view.key)[7] > doubles(*first.view.key)[7]);
}

TEST_CASE("a cache that is stored in another form from here on") {
  const auto view = view_at({0});
  auto arguments = tokens(1, 1);
  arguments.quantizer = k8Bit;
  CHECK_THROWS_WITH(view.concatenate_to_cache(arguments),
                    Contains("stores the whole cache so from here on"));
  CHECK(view.concatenate_to_cache(arguments, Mode::kFaithful)
            .view.key->quantized());
}

TEST_CASE("insert clamps and wraps slots") {
  const auto one = cache_of(1, 4, 500);
  for (const auto& [slot, row] :
       {std::pair<std::int64_t, std::size_t>{7, 2}, {-1, 2}, {-9, 0}}) {
    auto cache = cache_of(3, 4, 0);
    const auto before = cache;
    CHECK_THROWS_WITH(
        cache.insert(one, slot),
        Contains("EasyDeL writes from row " + std::to_string(row)));
    CHECK(same(*cache[1]->key, *before[1]->key));
    cache.insert(one, slot, kNoQuantizer, Mode::kFaithful);
    CHECK(doubles(*cache[1]->key)[row * 32] == 500);
  }
}

TEST_CASE("a shorter cache leaves the old tail of the slot") {
  auto cache = cache_of(2, 4, 0);
  const auto other = cache_of(1, 2, 500);
  CHECK_THROWS_WITH(cache.insert(other, 1),
                    Contains("leaves the rest as it was"));
  cache.insert(other, 1, kNoQuantizer, Mode::kFaithful);
  const auto numbers = doubles(*cache[0]->key);
  CHECK(numbers[32] == 500);
  CHECK(numbers[32 + 15] == 515);
  CHECK(numbers[32 + 16] == 48);  // as it was
}

TEST_CASE("fewer layers fail after the first have changed") {
  auto cache = cache_of(2, 4, 0);
  const auto other = cache_of(1, 4, 500, 1);
  CHECK_THROWS_WITH(cache.insert(other, 0),
                    Contains("fails after it has changed the first"));
  CHECK(doubles(*cache[0]->key)[0] == 0);
  CHECK_THROWS_WITH(cache.insert(other, 0, kNoQuantizer, Mode::kFaithful),
                    "list index out of range");
  CHECK(doubles(*cache[0]->key)[0] == 500);
  CHECK(doubles(*cache[1]->key)[0] == 0);
  const auto more = cache_of(1, 4, 700, 3);
  CHECK_THROWS_WITH(cache.insert(more, 0), Contains("ignores the others"));
  cache.insert(more, 0, kNoQuantizer, Mode::kFaithful);
  CHECK(doubles(*cache[1]->key)[0] == 700);
}

TEST_CASE("insert casts nothing") {
  auto cache = cache_of(2, 4, 0);
  auto other = cache_of(1, 4, 500);
  other[0]->value = counted({1, 4, 2, 4}, DType::kBF16);
  for (const Mode mode : {Mode::kChecked, Mode::kFaithful})
    CHECK_THROWS_WITH(cache.insert(other, 0, kNoQuantizer, mode),
                      Contains("same dtypes, got f32, bf16"));
}

TEST_CASE("insert_index and insert_starts clamp slots and keep any value") {
  auto cache = cache_of(3, 4, 0);
  CHECK_THROWS_WITH(cache.insert_index({1}, 3),
                    Contains("EasyDeL writes from row 2"));
  CHECK_THROWS_WITH(cache.insert_starts({5}, 0), Contains("EasyDeL keeps it"));
  cache.insert_index({9}, 3, Mode::kFaithful);
  for (const auto& view : cache.views)
    CHECK(integers(view->index) == std::vector<std::int64_t>{0, 0, 9});
  CHECK(&cache.insert_starts({1, 2}, 0) == &cache);
  CHECK(integers(cache[1]->starts) == std::vector<std::int64_t>{1, 2, 0});
}

TEST_CASE("the model has one metadata record") {
  auto cache = TransformerCache::init_cache(metadata());
  CHECK(to_cache(cache).metadata == metadata());
  cache[1]->metadata.pad_token_id = 7;
  CHECK_THROWS_WITH(to_cache(cache), Contains("that of the last view"));
  CHECK(to_cache(cache, Mode::kFaithful).metadata.pad_token_id == 7);
  const auto back = from_cache(to_cache(cache, Mode::kFaithful));
  CHECK(back[0]->layer_index == 0);
  CHECK(same(*back[1]->value, *cache[1]->value));
}

TEST_CASE("init_cache, init_empty, indexing and replace") {
  const auto starts = int_row({1, 3});
  const auto cache =
      TransformerCache::init_cache(metadata(), DType::kBF16, starts);
  REQUIRE(cache.size() == 2);
  CHECK(cache[1]->layer_index == 1);
  CHECK(cache[0]->key->dtype == DType::kBF16);
  CHECK(shape_text(*cache[0]->value) == "[2, 4, 2, 4]");
  CHECK(integers(cache[0]->index) == std::vector<std::int64_t>{0, 0});
  CHECK(cache[-1]->starts.source == starts.source);
  CHECK_FALSE(cache[0]->is_empty());
  CHECK(TransformerCacheView{}.is_empty());
  CHECK_THROWS_AS(cache[2], Error);
  const auto empty = TransformerCache::init_empty(3);
  CHECK(empty.size() == 3);
  CHECK_FALSE(empty[2].has_value());
  CHECK(TransformerCache::init_empty(-1).size() == 0);
  auto none = empty;
  CHECK_THROWS_AS(none.insert_index({1}, 0, Mode::kFaithful), Error);
  const auto changed = cache[0]->replace({.index = int_row({4, 4})});
  CHECK(integers(changed.index) == std::vector<std::int64_t>{4, 4});
  CHECK(changed.key->source == cache[0]->key->source);
  auto m = metadata();
  m.key_dim = -1;
  CHECK_THROWS_AS(TransformerCache::init_cache(m), Error);
}

TEST_CASE("starts of another shape are kept, or refused") {
  const auto starts = int_row({1, 2, 3});
  CHECK_THROWS_WITH(
      TransformerCacheView::init(metadata(), DType::kF32, kNoQuantizer, starts),
      Contains("starts: expected i32 [2], found i32 [3]"));
  CHECK(TransformerCacheView::init(metadata(), DType::kF32, kNoQuantizer,
                                   starts, {}, Mode::kFaithful)
            .starts.source == starts.source);
}

TEST_CASE("leading pads are counted") {
  std::vector<std::byte> ids(3 * 4 * 4);
  ids[4 * 2] = std::byte{5};  // 0 0 5 0
  ids[4 * 4] = std::byte{5};  // 5 0 0 0
  const Tensor tensor =
      make_tensor(DType::kI32, counted({3, 4}, DType::kI32).axes, ids);
  CHECK(compute_prefill_length(tensor, 0) ==
        std::vector<std::int32_t>{2, 0, 4});
}

TEST_CASE("an index of another length than the batch is refused") {
  auto view = view_at({0, 0});
  view.index = int_row({0});
  for (const Mode mode : {Mode::kChecked, Mode::kFaithful})
    CHECK_THROWS_AS(view.concatenate_to_cache(tokens(2, 1), mode), Error);
}

}  // namespace kvtape::easydel
