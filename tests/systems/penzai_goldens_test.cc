// penzai's caching attention against recordings of its own classes.
#include <catch2/catch.hpp>
#include <limits>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/goldens.h"
#include "systems/penzai_arrays.h"

namespace kvtape::penzai {
namespace {

using Json = nlohmann::json;
using test::count;
using test::filled;
using test::recorded;
using test::same;

struct Tolerance {
  double rtol = 0;
  double weights = 0;
  double output = 0;
};

// tolerances of the recordings
Tolerance tolerance_of(DType dtype) {
  if (dtype == DType::kF64) return {.rtol = 1e-10};
  if (dtype == DType::kF16) return {.weights = 3e-3, .output = 1.2e-2};
  if (dtype == DType::kBF16) return {.weights = 3e-2, .output = 0.12};
  return {.rtol = 1e-5, .weights = 1e-6, .output = 1e-6};
}

// 1 where element `i` of the axes is `first + i` of the embedding.
NamedArray choosing(const NamedShape& axes, std::size_t first,
                    std::size_t embedding, DType dtype) {
  const std::size_t size = count(axes);
  std::vector<double> values(size * embedding, 0);
  for (std::size_t i = 0; i < size; ++i) values[i * embedding + first + i] = 1;
  NamedShape all = axes;
  all.push_back({"embedding", static_cast<std::int64_t>(embedding)});
  return filled(all, values, dtype);
}

NamedShape without(const NamedShape& axes,
                   const std::vector<std::string>& names) {
  NamedShape result;
  for (const NamedAxis& axis : axes)
    if (std::find(names.begin(), names.end(), axis.name) == names.end())
      result.push_back(axis);
  return result;
}

// What a layer's linear maps choose from a hidden state that is made of the
// recorded query, key and value, one after the other.
struct Recording {
  NamedShape batch, query, key;  // axes of vectors
  std::size_t embedding = 0;

  Recording(const NamedArray& query_array, const NamedArray& key_cache) {
    for (const NamedAxis& axis : named_shape(key_cache))
      if (axis.name == "batch") batch.push_back(axis);
    query = without(named_shape(query_array), {"batch", "seq"});
    key = without(named_shape(key_cache), {"batch", "seq"});
    embedding = count(query) + 2 * count(key);
  }

  AttentionWeights weights(DType dtype) const {
    const std::size_t q = count(query), k = count(key);
    return {.query = choosing(query, 0, embedding, dtype),
            .key = choosing(key, q, embedding, dtype),
            .value = choosing(key, q + k, embedding, dtype),
            .output = choosing(query, 0, embedding, dtype)};
  }

  NamedArray hidden(const NamedArray& q, const NamedArray& k,
                    const NamedArray& v, std::int64_t tokens) const {
    NamedShape rows = batch;
    rows.push_back({"seq", tokens});
    const auto part = [&](const NamedArray& array, const NamedShape& vector) {
      auto order = test::names(rows);
      for (const NamedAxis& axis : vector) order.push_back(axis.name);
      return numbers(array, order);
    };
    const auto a = part(q, query), b = part(k, key), c = part(v, key);
    std::vector<double> values;
    for (std::size_t row = 0; row < count(rows); ++row)
      for (const auto& [from, size] :
           {std::pair{&a, count(query)}, std::pair{&b, count(key)},
            std::pair{&c, count(key)}})
        values.insert(values.end(), from->begin() + std::ptrdiff_t(row * size),
                      from->begin() + std::ptrdiff_t((row + 1) * size));
    rows.push_back({"embedding", static_cast<std::int64_t>(embedding)});
    return filled(rows, values, q.dtype);
  }

  // The recorded attn_out as the output map gives it: 0 beyond the query.
  NamedArray projected(const NamedArray& out, std::int64_t tokens) const {
    const Recording& self = *this;
    NamedShape rows = batch;
    rows.push_back({"seq", tokens});
    auto order = test::names(rows);
    for (const NamedAxis& axis : query) order.push_back(axis.name);
    const auto from = numbers(out, order);
    std::vector<double> values;
    const std::size_t size = count(self.query);
    for (std::size_t row = 0; row < count(rows); ++row)
      for (std::size_t i = 0; i < embedding; ++i)
        values.push_back(i < size ? from[row * size + i] : 0);
    rows.push_back({"embedding", static_cast<std::int64_t>(embedding)});
    return filled(rows, values, out.dtype);
  }
};

// Recorded queries and keys are those after rotary embedding and scaling.
Attention plain(Attention attention) {
  attention.input_to_query.sublayers.resize(1);
  attention.input_to_key.sublayers.resize(1);
  return attention;
}

NamedArray new_tokens(const Json& cache, std::int64_t end_index,
                      std::int64_t tokens, std::int64_t length) {
  if (end_index < 0) end_index += length;
  const std::int64_t at =
      std::clamp<std::int64_t>(end_index, 0, length - tokens);
  return test::cut(recorded(cache), "seq", at, tokens);
}

void check_layer(KVCachingAttention& layer, const Recording& recording,
                 const SideInputs& inputs, const NamedArray& query,
                 const Json& expected, std::int64_t tokens, bool fits) {
  const std::int64_t end_index = integers(inputs.at("cache_end_index"))[0];
  const auto length = extent(layer.kv_cache.key, AxisKind::kPosition);
  const NamedArray x = recording.hidden(
      query, new_tokens(expected["key_cache"], end_index, tokens, length),
      new_tokens(expected["value_cache"], end_index, tokens, length), tokens);
  KVCachingAttention checked = layer;
  if (fits)
    checked(x, inputs);
  else
    CHECK_THROWS_AS(checked(x, inputs), Error);
  const NamedArray output = layer(x, inputs, Mode::kFaithful);
  CHECK(same(layer.kv_cache.key, recorded(expected["key_cache"])));
  CHECK(same(layer.kv_cache.value, recorded(expected["value_cache"])));
  CHECK(named_shape(layer.kv_cache.key) ==
        named_shape(recorded(expected["key_cache"])));
  CHECK(same(checked.kv_cache.key, layer.kv_cache.key) == fits);
  const Tolerance tolerance = tolerance_of(query.dtype);
  const NamedArray weights =
      layer.query_key_to_attn(query, layer.kv_cache.key, inputs);
  const NamedArray recorded_weights = recorded(expected["weights"]);
  CHECK(test::excess(weights, recorded_weights, tolerance.rtol) <=
        tolerance.weights);
  CHECK(named_shape(weights).size() == named_shape(recorded_weights).size());
  // Unused elements of the embedding are 0, but NaN with NaN weights.
  const NamedArray wanted =
      recording.projected(recorded(expected["attn_out"]), tokens);
  const auto size = static_cast<std::int64_t>(count(recording.query));
  CHECK(test::excess(test::cut(output, "embedding", 0, size),
                     test::cut(wanted, "embedding", 0, size),
                     tolerance.rtol) <= tolerance.output);
}

GemmaKVCachingState state_at(std::int64_t end_index, std::int64_t length) {
  return {.cache_len = length, .cache_end_index = end_index};
}

void replay_v1(const Json& golden) {
  const NamedArray initial = recorded(golden["initial"]["key"]);
  const NamedArray query = recorded(golden["steps"][0]["query"]);
  const Recording recording(query, initial);
  const std::int64_t length = golden["cache_len"];
  const GemmaTransformerConfig config{
      .num_heads = golden["num_heads"],
      .embedding_dim = static_cast<std::int64_t>(recording.embedding),
      .projection_dim = golden["projection_dim"],
      .single_kv_head = golden["single_kv_head"],
      .activation_dtype = initial.dtype};
  const NamedShape cached_axes = without(named_shape(initial), {"seq"});
  if (golden["id"] != "cached_axes_order")
    CHECK(config.cached_axes(recording.batch) == cached_axes);
  auto layer = GemmaKVCachingAttention::from_uncached(
      plain(GemmaAttention::from_config(config,
                                        recording.weights(initial.dtype))),
      length, cached_axes, initial.dtype);
  CHECK(named_shape(layer.kv_cache.key) == named_shape(initial));
  CHECK(same(layer.kv_cache.key, initial));
  for (const Json& step : golden["steps"]) {
    const std::int64_t tokens = step["tokens"];
    const std::int64_t end_index = step["cache_end_index"];
    const auto inputs = GemmaKVCachingInputs::from_basic_subsegments(
        arange("seq", tokens), state_at(end_index, length), Mode::kFaithful);
    const NamedArray mask = recorded(step["attention_mask"]);
    CHECK(numbers(inputs.positions, {"seq"}) ==
          numbers(recorded(step["positions"]), {"seq"}));
    if (golden["id"] != "fully_masked_f16")
      CHECK(same(inputs.attention_mask, mask));
    SideInputs side_inputs = inputs.side_inputs();
    side_inputs["attn_mask"] = mask;
    check_layer(layer, recording, side_inputs, recorded(step["query"]),
                step["expected"], tokens,
                end_index >= 0 && end_index + tokens <= length);
    CHECK(inputs.next_state({}).cache_end_index ==
          step["expected"]["new_cache_end_index"]);
  }
}

LlamalikeTransformerConfig config_of(const Json& golden, DType dtype,
                                     std::size_t embedding) {
  LlamalikeTransformerConfig config{
      .num_kv_heads = golden["num_kv_heads"],
      .query_head_multiplier = golden["query_head_multiplier"],
      .embedding_dim = static_cast<std::int64_t>(embedding),
      .projection_dim = golden["projection_dim"],
      .attention_type = {},
      .activation_dtype = dtype};
  for (const std::string type : golden["attention_type"]) {
    const auto at = type.find("window_size=");
    config.attention_type.push_back(
        at == std::string::npos
            ? std::nullopt
            : std::optional<std::int64_t>(std::stoll(type.substr(at + 12))));
  }
  return config;
}

void replay_v2(const Json& golden) {
  const NamedArray initial = recorded(golden["initial"]["sampler/cache_0"][0]);
  const Json& first = golden["steps"][0]["expected"]["layers"];
  const Recording recording(recorded(first[0]["query"]), initial);
  const auto config = config_of(golden, initial.dtype, recording.embedding);
  std::vector<Attention> uncached;
  for (std::size_t layer = 0; layer < first.size(); ++layer)
    uncached.push_back(plain(
        build_llamalike_attention(config, recording.weights(initial.dtype),
                                  static_cast<std::int64_t>(layer))));
  const std::int64_t length = golden["cache_len"];
  auto model = KVCachingTransformerLM::from_uncached(
      config, uncached, length, recording.batch, golden["pad_id"]);
  CHECK(
      same(model.previous_tokens, recorded(golden["initial_previous_tokens"])));
  for (const Json& step : golden["steps"]) {
    const NamedArray tokens = recorded(step["tokens"], {"batch", "seq"});
    const std::int64_t new_tokens = step["tokens"]["shape"][1];
    const std::int64_t end_index = step["cache_end_index"];
    const bool fits = end_index + new_tokens <= length;
    if (!fits) CHECK_THROWS_AS(model.advance(tokens), Error);
    CHECK(model.cache_end_index == end_index);
    const SideInputs inputs = model.advance(tokens, Mode::kFaithful);
    const Json& expected = step["expected"];
    CHECK(same(model.previous_tokens, recorded(expected["previous_tokens"])));
    CHECK(model.cache_end_index == expected["new_cache_end_index"]);
    CHECK(same(inputs.at("token_positions"),
               recorded(expected["token_positions"])));
    CHECK(same(inputs.at("kv_token_positions"),
               recorded(expected["kv_token_positions"])));
    for (std::size_t i = 0; i < model.attentions.size(); ++i) {
      const Json& layer = expected["layers"][i];
      CHECK(model.attentions[i].kv_cache.label == layer["label"]);
      check_layer(model.attentions[i], recording, inputs,
                  recorded(layer["query"]), layer, new_tokens, fits);
    }
  }
}

}  // namespace

TEST_CASE("v1's layer caches, masks and attends as recorded") {
  int cases = 0;
  for (const Json& golden : kvtape::test::cases_of("penzai_v1")) {
    if (!golden.contains("steps") || golden["id"] == "err_axis_size") continue;
    INFO(golden["id"]);
    replay_v1(golden);
    ++cases;
  }
  CHECK(cases == 9);
}

TEST_CASE("v2's layers and positions are those recorded") {
  int cases = 0;
  for (const Json& golden : kvtape::test::cases_of("penzai_v2")) {
    INFO(golden["id"]);
    replay_v2(golden);
    ++cases;
  }
  CHECK(cases == 6);
}

TEST_CASE("v1 refuses what penzai refuses") {
  const Json golden = kvtape::test::case_of("penzai_v1", "err_axis_size");
  const GemmaTransformerConfig config{.num_heads = 4,
                                      .embedding_dim = 8,
                                      .projection_dim = 8,
                                      .single_kv_head = true};
  const NamedShape embedding{{"embedding", 8}};
  const NamedShape vector{{"embedding", 8}, {"projection", 8}};
  const NamedShape heads{{"embedding", 8}, {"heads", 4}, {"projection", 8}};
  const auto attention =
      GemmaAttention::from_config(config, {.query = test::random(heads, 1),
                                           .key = test::random(vector, 2),
                                           .value = test::random(vector, 3),
                                           .output = test::random(heads, 4)});
  const auto inputs = GemmaKVCachingInputs::from_basic_subsegments(
      arange("seq", 2), state_at(0, 5));
  const auto call = [&](std::int64_t batch, DType dtype) {
    auto layer = GemmaKVCachingAttention::from_uncached(
        attention, 5, config.cached_axes({{"batch", batch}}), dtype);
    layer(test::random({{"batch", 2}, {"seq", 2}, {"embedding", 8}}, 5),
          inputs.side_inputs(), Mode::kFaithful);
  };
  call(2, DType::kF32);
  CHECK_THROWS_WITH(
      call(3, DType::kF32),
      Catch::Matchers::Contains("args[0].named_shape == {'batch': 3, "
                                "'projection': 8}") &&
          Catch::Matchers::StartsWith(
              golden["steps"][0]["error"]["message"].get<std::string>().substr(
                  0, 41)));
  const Json dtypes = kvtape::test::case_of("penzai_v1", "err_dtype");
  CHECK_THROWS_WITH(
      call(2, DType::kF16),
      Catch::Matchers::StartsWith(
          dtypes["error"]["message"].get<std::string>().substr(0, 70)));
}

}  // namespace kvtape::penzai
