// TransformerLens' cache against recordings of its own classes.
#include "kvtape/transformer_lens.h"

#include <catch2/catch.hpp>

#include "kvtape/error.h"
#include "systems/goldens.h"

namespace kvtape::transformer_lens {
namespace {

using Catch::Matchers::Contains;
using Json = nlohmann::json;
using test::case_of;
using test::counted;
using test::same;
using test::tensor_of;

DType dtype_of(const Json& name) {
  return *dtype_from_name(name.get<std::string>());
}

std::vector<std::int64_t> shape(const Tensor& t) {
  std::vector<std::int64_t> result;
  for (AxisKind kind :
       {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim})
    if (has_axis(t, kind)) result.push_back(extent(t, kind));
  return result;
}

Tensor mask_of(const std::vector<std::int64_t>& sizes, DType dtype) {
  return counted(sizes, dtype);
}

KeyValueCache small_cache(DType dtype = DType::kF32) {
  return KeyValueCache::init_cache({.n_layers = 2,
                                    .n_heads = 4,
                                    .n_key_value_heads = 2,
                                    .d_head = 4,
                                    .dtype = dtype},
                                   2);
}

void freeze_as(KeyValueCache& cache, const Json& step) {
  if (step["cache_frozen"].get<bool>())
    cache.freeze();
  else
    cache.unfreeze();
  cache[0].frozen = step["entry_frozen"];
}

void replay(const std::string& id) {
  const Json test = case_of("transformerlens", id);
  KeyValueCache cache = small_cache(dtype_of(test["initial_dtype"]));
  for (const Json& step : test["steps"]) {
    freeze_as(cache, step);
    const auto returned = cache[0].append(
        tensor_of(step["key"]), tensor_of(step["value"]), Mode::kFaithful);
    const Json& expected = step["expected"];
    CHECK(same(returned.keys, tensor_of(expected["returned_key"])));
    CHECK(same(returned.values, tensor_of(expected["returned_value"])));
    CHECK(cache[0].length() == expected["stored_len"]);
    CHECK(same(cache[0].past_keys, tensor_of(expected["stored_key"])));
    CHECK(same(cache[0].past_values, tensor_of(expected["stored_value"])));
  }
}

}  // namespace

TEST_CASE("init_cache gives the shapes and dtypes of TransformerLens") {
  const Json test = case_of("transformerlens", "init_table");
  REQUIRE(test["rows"].size() == 10);
  for (const Json& row : test["rows"]) {
    Config cfg{.n_layers = row["layers"],
               .n_heads = row["n_heads"],
               .d_head = 4,
               .dtype = dtype_of(row["dtype"])};
    if (!row["n_key_value_heads"].is_null())
      cfg.n_key_value_heads = row["n_key_value_heads"].get<std::int64_t>();
    const auto cache = KeyValueCache::init_cache(cfg, row["batch"]);
    REQUIRE(cache.entries.size() == row["layers"]);
    CHECK(shape(cache[0].past_keys) == row["key_shape"]);
    CHECK(shape(cache[-1].past_values) == row["value_shape"]);
    CHECK(cache[0].past_keys.dtype == dtype_of(row["cache_dtype"]));
    CHECK(shape(cache.previous_attention_mask) == row["mask_shape"]);
    CHECK(cache.previous_attention_mask.dtype == dtype_of(row["mask_dtype"]));
    CHECK(cache.frozen == row["frozen"][0]);
    CHECK(cache[0].frozen == row["frozen"][1]);
  }
}

TEST_CASE("append stores, returns and promotes as TransformerLens") {
  replay("append_frozen");
  replay("append_promote_f16_f32");
  replay("append_bf16_f16");
}

TEST_CASE("append refuses what torch.cat refuses, with its text") {
  const Json test = case_of("transformerlens", "append_errors");
  REQUIRE(test["errors"].size() == 5);
  for (const Json& error : test["errors"]) {
    KeyValueCache cache = small_cache();
    std::vector<std::int64_t> sizes{2, 1, 4, 4};
    if (error.contains("shape")) {
      cache[0].append(counted({2, 3, 2, 4}), counted({2, 3, 2, 4}));
      sizes = error["shape"].get<std::vector<std::int64_t>>();
    }
    const std::int64_t length = cache[0].length();
    CHECK_THROWS_WITH(cache[0].append(counted(sizes), counted(sizes)),
                      "keys: " + error["message"].get<std::string>());
    CHECK_THROWS_AS(cache[0].append(counted({2, 1, 2, 4}), counted(sizes)),
                    Error);
    CHECK(cache[0].length() == length);
  }
}

TEST_CASE("masks are promoted as TransformerLens promotes them") {
  const Json test = case_of("transformerlens", "mask_dtypes");
  for (const Json& pair : test["dtypes"]) {
    KeyValueCache cache = small_cache();
    const Tensor all = cache.append_attention_mask(
        mask_of({2, 3}, dtype_of(pair[0])), Mode::kFaithful);
    CHECK(all.dtype == dtype_of(pair[1]));
    CHECK(cache.previous_attention_mask.dtype == dtype_of(pair[1]));
    CHECK(same(all, mask_of({2, 3}, dtype_of(pair[1]))));
  }
}

TEST_CASE("the attention goldens leave the recorded keys and values") {
  int cases = 0;
  for (const Json& test : test::cases_of("transformerlens")) {
    if (test["op"] != "attention") continue;
    INFO(test["id"]);
    const Tensor first = tensor_of(test["steps"][0]["key"]);
    auto entry = KeyValueCacheEntry::init_cache_entry(
        {.n_heads = extent(first, AxisKind::kHead),
         .d_head = extent(first, AxisKind::kDim),
         .dtype = first.dtype},
        extent(first, AxisKind::kBatch));
    for (const Json& step : test["steps"]) {
      entry.frozen = step["frozen"];
      CHECK(entry.length() == step["offset"]);
      entry.append(tensor_of(step["key"]), tensor_of(step["value"]),
                   Mode::kFaithful);
      CHECK(same(entry.past_keys, tensor_of(step["expected"]["stored_key"])));
      CHECK(
          same(entry.past_values, tensor_of(step["expected"]["stored_value"])));
    }
    ++cases;
  }
  CHECK(cases == 6);
}

TEST_CASE("a tensor returned earlier keeps its value") {
  KeyValueCache cache = small_cache();
  std::vector<Tensor> returned;
  for (int i = 0; i < 100; ++i)
    returned.push_back(cache[0]
                           .append(counted({2, 1, 2, 4}, DType::kF32, float(i)),
                                   counted({2, 1, 2, 4}))
                           .keys);
  KeyValueCacheEntry other = cache[0];  // both go on from here
  cache[0].append(counted({2, 1, 2, 4}, DType::kF32, -50),
                  counted({2, 1, 2, 4}));
  other.append(counted({2, 1, 2, 4}, DType::kF32, -99), counted({2, 1, 2, 4}));
  for (std::size_t i = 0; i < returned.size(); ++i) {
    const auto numbers = doubles(returned[i]);
    REQUIRE(numbers.size() == 16 * (i + 1));
    CHECK(numbers[i * 8] == static_cast<double>(i));  // row 0, position i
    CHECK(numbers.back() == static_cast<double>(i) + 15);
  }
  CHECK(doubles(cache[0].past_keys)[800] == -50);
  CHECK(doubles(other.past_keys)[800] == -99);
}

TEST_CASE("checked append refuses a wider dtype") {
  KeyValueCache cache = small_cache(DType::kF16);
  const Tensor wide = counted({2, 1, 2, 4}, DType::kF32);
  CHECK_THROWS_WITH(cache[0].append(wide, wide),
                    Contains("TransformerLens makes the whole entry f32"));
  CHECK(cache[0].length() == 0);
  cache[0].append(wide, wide, Mode::kFaithful);
  CHECK(cache[0].past_keys.dtype == DType::kF32);
}

TEST_CASE("checked append refuses a second one while frozen") {
  KeyValueCache cache = small_cache();
  const Tensor one = counted({2, 1, 2, 4});
  cache[0].append(one, one);
  cache.freeze();
  CHECK(extent(cache[0].append(one, one).keys, AxisKind::kPosition) == 2);
  CHECK_THROWS_WITH(
      cache[0].append(one, one),
      Contains("attends to the 1 stored tokens and the new ones only"));
  const auto seen = cache[0].append(one, one, Mode::kFaithful);
  CHECK(extent(seen.keys, AxisKind::kPosition) == 2);
  cache.unfreeze();
  cache[0].append(one, one);
  CHECK(cache[0].length() == 2);
}

TEST_CASE("checked masks stand where the entries end") {
  KeyValueCache cache = small_cache();
  const Tensor one = counted({2, 1, 2, 4});
  for (KeyValueCacheEntry& entry : cache.entries) entry.append(one, one);
  const Tensor mask = mask_of({2, 1}, DType::kI64);
  CHECK_THROWS_WITH(cache.append_attention_mask(mask),
                    Contains("pairs masks and keys of different positions"));
  cache.append_attention_mask(mask, Mode::kFaithful);
  CHECK(cache.append_attention_mask(mask).dtype == DType::kI64);
  CHECK(extent(cache.previous_attention_mask, AxisKind::kPosition) == 2);
}

TEST_CASE("checked append stops at n_ctx, before the entry is extended") {
  const Json errors = case_of("transformerlens", "attn_errors")["errors"];
  REQUIRE(errors.size() == 2);
  auto entry = KeyValueCacheEntry::init_cache_entry(
      {.n_heads = 4, .n_key_value_heads = 2, .d_head = 4, .n_ctx = 4});
  const Tensor four = counted({1, 4, 2, 4});
  const Tensor one = counted({1, 1, 2, 4});
  entry.append(four, four);
  CHECK_THROWS_WITH(entry.append(one, one), Contains("n_ctx = 4"));
  CHECK(entry.length() == 4);
  entry.append(one, one, Mode::kFaithful);
  CHECK(entry.length() == 5);
  // ungroup_grouped_query_attention brings n_heads heads.
  const Tensor ungrouped = counted({1, 1, 4, 4});
  CHECK_THROWS_WITH(entry.append(ungrouped, ungrouped),
                    Contains(errors[0]["message"].get<std::string>()));
}

TEST_CASE("indexing is that of a Python list") {
  KeyValueCache cache = small_cache();
  CHECK(&cache[-1] == &cache.entries[1]);
  CHECK_THROWS_WITH(cache[2], "list index out of range");
  CHECK_THROWS_AS(cache[-3], Error);
}

TEST_CASE("a cache in terms of the model and back") {
  KeyValueCache cache = small_cache(DType::kBF16);
  const Tensor keys = counted({2, 3, 2, 4}, DType::kBF16);
  for (KeyValueCacheEntry& entry : cache.entries) entry.append(keys, keys);
  cache.append_attention_mask(mask_of({2, 3}, DType::kI64), Mode::kFaithful);
  cache.freeze();
  const Cache model = to_cache(cache);
  CHECK(model.layers.at(1).layout == Layout::kGrowing);
  CHECK(integers(*model.layers.at(1).index) == std::vector<std::int64_t>{3, 3});
  CHECK(model.metadata.key_heads == 2);
  const KeyValueCache back = from_cache(model);
  CHECK(back.frozen);
  CHECK(same(back[1].past_keys, keys));
  CHECK(same(back.previous_attention_mask, mask_of({2, 3}, DType::kI64)));
}

}  // namespace kvtape::transformer_lens
