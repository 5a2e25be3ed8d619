// Token by token with a cache against the whole sequence without one, and the
// Struct conveniences.
#include <catch2/catch.hpp>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/penzai_arrays.h"

namespace kvtape::penzai {
namespace {

using test::cut;
using test::excess;
using test::same;

constexpr std::int64_t kTokens = 64;
constexpr std::int64_t kEmbedding = 24;
constexpr std::int64_t kProjection = 8;

const NamedShape kHidden{
    {"batch", 2}, {"seq", kTokens}, {"embedding", kEmbedding}};

struct Case {
  const char* name;
  std::int64_t kv_heads;
  std::int64_t multiplier;
  std::optional<std::int64_t> window;
  std::optional<double> soft_cap;
};

const std::vector<Case> kCases{{"multi-head", 4, 1, {}, {}},
                               {"single head", 1, 4, {}, {}},
                               {"grouped", 2, 3, {}, {}},
                               {"multi-head, window", 4, 1, 7, {}},
                               {"single head, window", 1, 4, 7, {}},
                               {"grouped, window", 2, 3, 7, {}},
                               {"grouped, soft cap", 2, 3, {}, 0.5},
                               {"both", 2, 3, 7, 0.5}};

AttentionWeights weights_of(const LlamalikeTransformerConfig& config) {
  NamedShape key{{"embedding", kEmbedding}};
  for (const NamedAxis& axis : config.common_head_axes()) key.push_back(axis);
  NamedShape query = key;
  for (const NamedAxis& axis : config.query_only_head_axes())
    query.push_back(axis);
  key.push_back({"projection", kProjection});
  query.push_back({"projection", kProjection});
  return {.query = test::random(query, 1),
          .key = test::random(key, 2),
          .value = test::random(key, 3),
          .output = test::random(query, 4)};
}

NamedArray positions(std::int64_t first, std::int64_t count) {
  std::vector<double> values;
  for (int row = 0; row < 2; ++row)
    for (std::int64_t i = 0; i < count; ++i)
      values.push_back(static_cast<double>(first + i));
  return test::filled({{"batch", 2}, {"seq", count}}, values, DType::kI32);
}

Attention gemma_attention(bool single) {
  const GemmaTransformerConfig config{.num_heads = 4,
                                      .embedding_dim = kEmbedding,
                                      .projection_dim = kProjection,
                                      .single_kv_head = single};
  NamedShape key{{"embedding", kEmbedding}, {"projection", kProjection}};
  const NamedShape query{
      {"embedding", kEmbedding}, {"heads", 4}, {"projection", kProjection}};
  if (!single) key = query;
  return GemmaAttention::from_config(config,
                                     {.query = test::random(query, 1),
                                      .key = test::random(key, 2),
                                      .value = test::random(key, 3),
                                      .output = test::random(query, 4)});
}

KVCachingAttention small_layer() {
  const GemmaTransformerConfig config{.num_heads = 4,
                                      .embedding_dim = kEmbedding,
                                      .projection_dim = kProjection,
                                      .single_kv_head = true};
  return GemmaKVCachingAttention::from_uncached(
      gemma_attention(true), 6, config.cached_axes({{"batch", 2}}));
}

}  // namespace

TEST_CASE("v2's layer gives token by token what it gives at once") {
  const NamedArray hidden = test::random(kHidden, 9);
  for (const Case& each : kCases) {
    INFO(each.name);
    const LlamalikeTransformerConfig config{
        .num_kv_heads = each.kv_heads,
        .query_head_multiplier = each.multiplier,
        .embedding_dim = kEmbedding,
        .projection_dim = kProjection,
        .attention_type = {each.window},
        .attn_logits_soft_cap = each.soft_cap};
    const Attention uncached =
        build_llamalike_attention(config, weights_of(config));
    const NamedArray whole =
        uncached(hidden, {{"token_positions", positions(0, kTokens)}});
    auto model = KVCachingTransformerLM::from_uncached(config, {uncached},
                                                       kTokens, {{"batch", 2}});
    for (std::int64_t token = 0; token < kTokens; ++token) {
      const NamedArray id =
          test::filled({{"batch", 2}, {"seq", 1}}, {1, 1}, DType::kI32);
      const SideInputs inputs = model.advance(id);
      const NamedArray output =
          model.attentions[0](cut(hidden, "seq", token, 1), inputs);
      REQUIRE(excess(output, cut(whole, "seq", token, 1), 1e-5) <= 1e-6);
    }
  }
}

TEST_CASE("v1's Gemma layer gives token by token what it gives at once") {
  const NamedArray hidden = test::random(kHidden, 7);
  for (const bool single : {false, true}) {
    const GemmaTransformerConfig config{.num_heads = 4,
                                        .embedding_dim = kEmbedding,
                                        .projection_dim = kProjection,
                                        .single_kv_head = single};
    const Attention uncached = gemma_attention(single);
    std::vector<double> mask;
    for (std::int64_t q = 0; q < kTokens; ++q)
      for (std::int64_t k = 0; k < kTokens; ++k) mask.push_back(k <= q ? 1 : 0);
    const NamedArray whole = uncached(
        hidden,
        {{"token_positions", arange("seq", kTokens)},
         {"attn_mask", test::filled({{"seq", kTokens}, {"kv_seq", kTokens}},
                                    mask, DType::kBool)}});
    auto layer = GemmaKVCachingAttention::from_uncached(
        uncached, kTokens, config.cached_axes({{"batch", 2}}));
    GemmaKVCachingState state{.cache_len = kTokens};
    for (std::int64_t token = 0; token < kTokens; ++token) {
      const auto inputs =
          GemmaKVCachingInputs::from_basic_subsegments(arange("seq", 1), state);
      const NamedArray output =
          layer(cut(hidden, "seq", token, 1), inputs.side_inputs());
      REQUIRE(excess(output, cut(whole, "seq", token, 1), 1e-5) <= 1e-6);
      state = inputs.next_state({layer.kv_cache});
    }
    CHECK(state.cache_end_index == kTokens);
  }
}

TEST_CASE("a layer comes apart into its fields and together again") {
  const KVCachingAttention layer = small_layer();
  const Attributes fields = layer.attributes_dict();
  CHECK(fields.front().first == "input_to_query");
  CHECK(fields.back().first == "kv_cache");
  const auto again = KVCachingAttention::from_attributes(fields);
  CHECK(again.attributes_dict().size() == fields.size());
  CHECK(same(again.kv_cache.key, layer.kv_cache.key));
  Attributes short_of = fields;
  short_of.pop_back();
  CHECK_THROWS_WITH(KVCachingAttention::from_attributes(short_of),
                    Catch::Matchers::Contains("Incorrect fields"));
  const auto [children, metadata] = layer.tree_flatten();
  const auto [keyed, same_metadata] = layer.tree_flatten_with_keys();
  CHECK(children.size() == metadata.child_field_names.size());
  CHECK(keyed.size() == children.size());
  CHECK(keyed.front().first ==
        KVCachingAttention::key_for_field(metadata.child_field_names.front()));
  const auto grown = KVCachingAttention::tree_unflatten(metadata, children);
  CHECK(grown.sequence_axis == layer.sequence_axis);
  CHECK(same(grown.kv_cache.value, layer.kv_cache.value));
}

TEST_CASE("leaves have fixed paths and go back to their places") {
  const KVCachingAttention layer = small_layer();
  std::vector<Leaf> leaves = layer.leaves();
  REQUIRE(leaves.size() > 4);
  CHECK(leaves.front().path == ".input_to_query.sublayers[0].weights");
  CHECK(leaves.back().path == ".kv_cache.value[1]");
  leaves.back().array = test::random(named_shape(leaves.back().array), 3);
  const KVCachingAttention changed = layer.with_leaves(leaves);
  CHECK(same(changed.kv_cache.value, leaves.back().array));
  CHECK(!same(changed.kv_cache.value, layer.kv_cache.value));
  leaves.pop_back();
  CHECK_THROWS_AS(layer.with_leaves(leaves), Error);
}

TEST_CASE("selected sublayers are replaced in a copy") {
  const KVCachingAttention layer = small_layer();
  CHECK(select<Linear>(layer).get().size() == 4);
  const auto silent = select<Linear>(layer).apply([](Linear linear) {
    linear.weights = zeros(named_shape(linear.weights), linear.weights.dtype);
    return linear;
  });
  for (const Linear& linear : select<Linear>(silent).get())
    for (const double weight :
         numbers(linear.weights, test::names(named_shape(linear.weights))))
      REQUIRE(weight == 0);
  CHECK(!same(select<Linear>(layer).get()[0].weights,
              select<Linear>(silent).get()[0].weights));
}

TEST_CASE("input and output structures tell the axes of the linear maps") {
  const KVCachingAttention layer = small_layer();
  CHECK(text(layer.input_structure()).find("embedding: 24") !=
        std::string::npos);
  CHECK(layer.input_structure() == layer.output_structure());
  CHECK(layer.treescope_color().starts_with("oklch("));
}

TEST_CASE("a state goes to a cache and back") {
  GemmaKVCachingState state{.cache_len = 6,
                            .batch_axes = {{"batch", 2}},
                            .kv_caches = {small_layer().kv_cache},
                            .cache_end_index = 4};
  state.kv_caches[0].key = test::random(named_shape(state.kv_caches[0].key), 2);
  const Cache cache = to_cache(state);
  REQUIRE(cache.layers.size() == 1);
  CHECK(integers(*cache.layers.at(0).index) == std::vector<std::int64_t>{4, 4});
  const GemmaKVCachingState again = state_from_cache(cache);
  CHECK(again.cache_end_index == 4);
  CHECK(again.cache_len == 6);
  CHECK(same(again.kv_caches[0].key, state.kv_caches[0].key));
}

}  // namespace kvtape::penzai
