// EasyDeL's caches against recordings of its own code.
#include <catch2/catch.hpp>
#include <cmath>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/goldens.h"

namespace kvtape::easydel {
namespace {

using Json = nlohmann::json;
using test::case_of;
using test::same;
using test::tensor_of;
using Methods = EasyDeLQuantizationMethods;

constexpr EasyQuantizer k8Bit{.quantization_method = Methods::kA8Bit};
constexpr EasyQuantizer kNF4{.quantization_method = Methods::kNF4,
                             .block_size = 32};

TransformerCacheView view_of(const Json& arrays,
                             const EasyQuantizer& quantizer) {
  TransformerCacheView view{.key = quantizer(tensor_of(arrays["key"])),
                            .value = quantizer(tensor_of(arrays["value"])),
                            .index = tensor_of(arrays["index"]),
                            .starts = tensor_of(arrays["starts"]),
                            .layer_index = 0};
  if (arrays.contains("layer_index"))
    view.layer_index = arrays["layer_index"].get<std::int64_t>();
  return view;
}

Concatenation arguments_of(const Json& step, const EasyQuantizer& quantizer) {
  Concatenation result{.query_length = step["query_length"],
                       .key = tensor_of(step["key"]),
                       .value = tensor_of(step["value"]),
                       .attention_mask = tensor_of(step["attention_mask"]),
                       .quantizer = quantizer};
  if (step.contains("causal_mask"))
    result.causal_mask = tensor_of(step["causal_mask"], true);
  if (step.contains("token_type_ids"))
    result.token_type_ids = tensor_of(step["token_type_ids"]);
  return result;
}

bool near(const Tensor& a, const Tensor& b) {
  const auto x = doubles(a);
  const auto y = doubles(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!(std::abs(x[i] - y[i]) <= 1e-6 * std::abs(y[i]))) return false;
  return x.size() == y.size();
}

bool equal(const TransformerCacheView& a, const TransformerCacheView& b) {
  return same(materialize(*a.key), materialize(*b.key)) &&
         same(materialize(*a.value), materialize(*b.value)) &&
         same(a.index, b.index) && same(a.starts, b.starts) &&
         a.layer_index == b.layer_index;
}

void check_step(const Concatenated& given, const Json& expected) {
  CHECK(same(given.mask, tensor_of(expected["mask"], true)));
  CHECK(same(given.view.index, tensor_of(expected["index"])));
  CHECK(same(given.view.starts, tensor_of(expected["starts"])));
  CHECK(given.view.layer_index == expected["layer_index"]);
  if (!expected.contains("stored_key")) {
    CHECK(same(given.key, tensor_of(expected["key"])));
    CHECK(same(given.value, tensor_of(expected["value"])));
    CHECK(same(*given.view.key, given.key));
    CHECK(same(*given.view.value, given.value));
    return;
  }
  CHECK(given.view.key->quantized());
  CHECK(given.view.value->quantized());
  CHECK(near(given.key, tensor_of(expected["key"])));
  CHECK(near(given.value, tensor_of(expected["value"])));
  CHECK(near(*given.view.key, tensor_of(expected["stored_key"])));
  CHECK(near(*given.view.value, tensor_of(expected["stored_value"])));
}

void replay_concatenations(const Json& test) {
  const EasyQuantizer& quantizer =
      test["id"] == "cat_quant_nf4" ? kNF4 : kNoQuantizer;
  TransformerCacheView view = view_of(test["inputs"], quantizer);
  for (const Json& step : test["steps"]) {
    const TransformerCacheView before = view;
    const auto arguments = arguments_of(step, quantizer);
    if (step.contains("error")) {
      CHECK_THROWS_AS(view.concatenate_to_cache(arguments, Mode::kFaithful),
                      Error);
    } else {
      const auto given = view.concatenate_to_cache(arguments, Mode::kFaithful);
      check_step(given, step["expected"]);
      CHECK(equal(view, before));
      view = given.view;
    }
  }
}

TransformerCache cache_of(const Json& layers) {
  TransformerCache cache;
  for (const Json& layer : layers)
    cache.views.push_back(
        view_of(layer, layer["kinds"][0] == "Array8B" ? k8Bit : kNoQuantizer));
  return cache;
}

void replay_insert(const Json& test) {
  TransformerCache cache = cache_of(test["self"]);
  const TransformerCache other = cache_of(test["other"]);
  const EasyQuantizer& quantizer =
      test["self"][0]["kinds"][0] == "Array8B" ? k8Bit : kNoQuantizer;
  const auto run = [&]() -> TransformerCache& {
    return cache.insert(other, test["slot"], quantizer, Mode::kFaithful);
  };
  if (test.contains("error"))
    CHECK_THROWS_WITH(run(), test["error"]["message"].get<std::string>());
  else
    CHECK(&run() == &cache);
  const Json& expected = test["expected"];
  REQUIRE(cache.size() == expected.size());
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    const TransformerCacheView& view = *cache.views[layer];
    CHECK(view.key->quantized() == (expected[layer]["kinds"][0] == "Array8B"));
    CHECK(near(*view.key, tensor_of(expected[layer]["key"])));
    CHECK(near(*view.value, tensor_of(expected[layer]["value"])));
    CHECK(same(view.index, tensor_of(expected[layer]["index"])));
    CHECK(same(view.starts, tensor_of(expected[layer]["starts"])));
    CHECK(view.layer_index == expected[layer]["layer_index"]);
  }
}

std::vector<std::int32_t> flattened(const Json& value) {
  if (!value.is_array()) return {value.get<std::int32_t>()};
  std::vector<std::int32_t> result;
  for (const Json& each : value)
    for (const std::int32_t number : flattened(each)) result.push_back(number);
  return result;
}

void replay_insert_values(const Json& test) {
  const Tensor before = tensor_of(test["before"]);
  TransformerCache cache;
  for (std::int64_t layer = 0; layer < 2; ++layer)
    cache.views.push_back(
        TransformerCacheView{.key = test::counted({4, 1, 1, 1}),
                             .value = test::counted({4, 1, 1, 1}),
                             .index = before,
                             .starts = before,
                             .layer_index = layer});
  const auto values = flattened(test["value"]);
  const bool index = test["op"] == "insert_index";
  const auto run = [&] {
    if (index)
      cache.insert_index(values, test["slot"], Mode::kFaithful);
    else
      cache.insert_starts(values, test["slot"], Mode::kFaithful);
  };
  if (test.contains("error"))
    CHECK_THROWS_WITH(run(), test["error"]["message"].get<std::string>());
  else
    run();
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const TransformerCacheView& view = *cache.views[layer];
    const Tensor expected = tensor_of(test["expected_all_layers"][layer]);
    CHECK(same(index ? view.index : view.starts, expected));
    CHECK(same(index ? view.starts : view.index, before));
  }
}

}  // namespace

TEST_CASE("concatenate_to_cache, insert, insert_index, insert_starts") {
  int cases = 0;
  for (const Json& test : test::cases_of("easydel_cache")) {
    INFO(test["id"]);
    ++cases;
    if (test["op"] == "concatenate_to_cache")
      replay_concatenations(test);
    else if (test["op"] == "insert")
      replay_insert(test);
    else
      replay_insert_values(test);
  }
  CHECK(cases == 33);
}

TEST_CASE("AttentionModule.concatenate") {
  int cases = 0;
  for (const Json& test : test::cases_of("easydel_attention")) {
    INFO(test["id"]);
    const Json& inputs = test["inputs"];
    AttentionModule module;
    if (!test["sliding_window"].is_null())
      module.sliding_window = test["sliding_window"].get<std::int64_t>();
    TransformerCacheView view = view_of(inputs, kNoQuantizer);
    for (const Json& step : test["steps"]) {
      const Tensor key = tensor_of(step["key"]);
      const auto given = module.concatenate(
          view,
          {.query_length = extent(key, AxisKind::kPosition),
           .key = key,
           .value = tensor_of(step["value"]),
           .attention_mask = tensor_of(inputs["attention_mask"])},
          Mode::kFaithful);
      CHECK(same(given.mask, tensor_of(step["expected"]["mask"], true)));
      CHECK(same(given.view.index, tensor_of(step["expected"]["index"])));
      if (step["expected"].contains("error_decode_op"))
        CHECK_THROWS_AS(decode_mask(given.view, given.mask), Error);
      view = given.view;
    }
    CHECK(same(*view.key, tensor_of(inputs["final_key"])));
    CHECK(same(*view.value, tensor_of(inputs["final_value"])));
    ++cases;
  }
  CHECK(cases == 12);
}

TEST_CASE("EasyQuantizer gives codes, scales and values of eformer") {
  for (const Json& test : test::cases_of("quantizers")) {
    INFO(test["id"]);
    const bool nf4 = test["method"] == "nf4";
    const EasyQuantizer quantizer{
        .quantization_method = nf4 ? Methods::kNF4 : Methods::kA8Bit,
        .block_size = test["block_size"]};
    Tensor array = tensor_of(test["input"]);
    for (const Json& round : test["rounds"]) {
      const Tensor given = quantizer(array);
      REQUIRE(given.quantized());
      const auto codes = given.source->bytes();
      const Tensor weight = tensor_of(round[nf4 ? "packed" : "weight"]);
      const auto expected = weight.source->bytes();
      CHECK(std::equal(codes.begin(), codes.end(), expected.begin(),
                       expected.end()));
      const auto scales = given.quantization.scales->bytes();
      const Tensor scale = tensor_of(round[nf4 ? "absmax" : "scale"]);
      const auto recorded = scale.source->bytes();
      CHECK(std::equal(scales.begin(), scales.end(), recorded.begin(),
                       recorded.end()));
      if (nf4) CHECK(given.quantization.block_size == round["effective_block"]);
      array = materialize(given);
      CHECK(same(array, tensor_of(round["materialized"])));
    }
  }
}

}  // namespace kvtape::easydel
