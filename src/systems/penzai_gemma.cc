// Gemma's attention of v1 and Llama-like attention of v2, from their weights.
#include <algorithm>
#include <cmath>
#include <utility>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/penzai_array.h"

namespace kvtape::penzai {
namespace {

NamedShape joined(std::initializer_list<NamedShape> shapes) {
  NamedShape result;
  for (const NamedShape& shape : shapes)
    result.insert(result.end(), shape.begin(), shape.end());
  return result;
}

std::vector<std::string> names_of(const NamedShape& axes) {
  std::vector<std::string> result;
  for (const NamedAxis& axis : axes) result.push_back(axis.name);
  return result;
}

bool same_axes(const NamedShape& a, const NamedShape& b) {
  return a.size() == b.size() &&
         std::all_of(a.begin(), a.end(), [&](const NamedAxis& axis) {
           return size_of(b, axis.name) == axis.size;
         });
}

Linear linear(const char* field, const NamedArray& weights,
              const NamedShape& in, const NamedShape& out) {
  const NamedShape expected = joined({in, out});
  if (!same_axes(named_shape(weights), expected))
    throw Error({.object = "weights",
                 .field = field,
                 .expected = dict_text(expected),
                 .found = dict_text(named_shape(weights))});
  return {.weights = weights,
          .in_axis_names = names_of(in),
          .out_axis_names = names_of(out)};
}

std::vector<EinsumAxis> einsum_axes(const NamedShape& heads,
                                    std::initializer_list<EinsumAxis> others) {
  std::vector<EinsumAxis> result;
  for (const NamedAxis& axis : heads)
    result.push_back({.axis = axis.name, .index = axis.name});
  result.insert(result.end(), others.begin(), others.end());
  return result;
}

const EinsumAxis kQuery{.axis = "seq", .index = "tq"};
const EinsumAxis kKey{.axis = "seq", .index = "tkv"};
const EinsumAxis kSlot{.axis = "kv_seq", .index = "tkv"};
const EinsumAxis kProjection{.axis = "projection", .index = "p"};

NamedEinsum scores(const NamedShape& query_heads, const NamedShape& key_heads) {
  return {.first = einsum_axes(query_heads, {kQuery, kProjection}),
          .second = einsum_axes(key_heads, {kKey, kProjection}),
          .output = einsum_axes(query_heads, {kQuery, kSlot})};
}

NamedEinsum weighted(const NamedShape& query_heads,
                     const NamedShape& key_heads) {
  return {.first = einsum_axes(query_heads, {kQuery, kSlot}),
          .second = einsum_axes(key_heads, {kKey, kProjection}),
          .output = einsum_axes(query_heads, {kQuery, kProjection})};
}

double inverse_root(std::int64_t dim) {
  return 1 / std::sqrt(static_cast<double>(dim));
}

void add_norm(const LlamalikeTransformerConfig& config,
              const std::optional<NamedArray>& scale, Sequential& part) {
  if (!scale) return;
  part.sublayers.emplace_back(
      RMSStandardize{.across = {"projection"}, .epsilon = config.rms_norm_eps});
  Linear by =
      linear("norm scale", *scale, {}, {{"projection", config.projection_dim}});
  by.out_axis_names = {};  // times the axis that both have
  part.sublayers.emplace_back(std::move(by));
}

Sequential logits(const LlamalikeTransformerConfig& config,
                  const NamedShape& query_heads, std::int64_t block_index) {
  Sequential part{{scores(query_heads, config.common_head_axes())}};
  const DType dtype = config.activation_dtype;
  const Constant masked_out{.value = kMaskedOutValue, .dtype = dtype};
  if (config.attn_logits_soft_cap)
    part.sublayers.emplace_back(TanhSoftCap{
        .soft_cap = {.value = *config.attn_logits_soft_cap, .dtype = dtype}});
  const auto& types = config.attention_type;
  const auto window =
      types.empty()
          ? std::nullopt
          : types[static_cast<std::size_t>(block_index) % types.size()];
  if (window)
    part.sublayers.emplace_back(ApplyCausalSlidingWindowAttentionMask{
        .masked_out_value = masked_out, .sliding_window_size = *window});
  else
    part.sublayers.emplace_back(
        ApplyCausalAttentionMask{.masked_out_value = masked_out});
  part.sublayers.emplace_back(Softmax{});
  return part;
}

}  // namespace

NamedShape GemmaTransformerConfig::cached_axes(
    const NamedShape& batch_axes) const {
  NamedShape axes = joined({batch_axes, {{"projection", projection_dim}}});
  if (!single_kv_head) axes.push_back({.name = "heads", .size = num_heads});
  return axes;
}

Attention GemmaAttention::from_config(const GemmaTransformerConfig& config,
                                      const AttentionWeights& weights) {
  const NamedShape embedding{{"embedding", config.embedding_dim}};
  const NamedShape projection{{"projection", config.projection_dim}};
  const NamedShape heads{{"heads", config.num_heads}};
  const NamedShape key_heads = config.single_kv_head ? NamedShape{} : heads;
  const DType dtype = config.activation_dtype;
  const NamedShape query_out = joined({heads, projection});
  const NamedShape key_out = joined({key_heads, projection});
  return {
      .input_to_query = {{linear("query", weights.query, embedding, query_out),
                          ApplyRoPE{},
                          ConstantRescale{
                              {inverse_root(config.projection_dim), dtype}}}},
      .input_to_key = {{linear("key", weights.key, embedding, key_out),
                        ApplyRoPE{}}},
      .input_to_value = {{linear("value", weights.value, embedding, key_out)}},
      .query_key_to_attn = {{scores(heads, key_heads),
                             ApplyAttentionMask{
                                 .masked_out_value = {kMaskedOutValue, dtype}},
                             Softmax{}}},
      .attn_value_to_output = {
          {weighted(heads, key_heads),
           linear("output", weights.output, query_out, embedding)}}};
}

NamedShape LlamalikeTransformerConfig::common_head_axes() const {
  if (query_head_multiplier == 1) return {{"heads", num_kv_heads}};
  if (num_kv_heads == 1) return {};
  return {{"head_groups", num_kv_heads}};
}

NamedShape LlamalikeTransformerConfig::query_only_head_axes() const {
  if (query_head_multiplier == 1) return {};
  return {{"query_heads", query_head_multiplier}};
}

Attention build_llamalike_attention(const LlamalikeTransformerConfig& config,
                                    const AttentionWeights& weights,
                                    std::int64_t block_index) {
  const NamedShape embedding{{"embedding", config.embedding_dim}};
  const NamedShape projection{{"projection", config.projection_dim}};
  const NamedShape key_heads = config.common_head_axes();
  const NamedShape heads = joined({key_heads, config.query_only_head_axes()});
  const NamedShape query_out = joined({heads, projection});
  const NamedShape key_out = joined({key_heads, projection});
  const ApplyRoPE rotary{.max_wavelength = config.rope_wavelength};
  Attention attention;
  auto& query = attention.input_to_query.sublayers;
  query = {linear("query", weights.query, embedding, query_out)};
  add_norm(config, config.query_norm_scale, attention.input_to_query);
  query.emplace_back(rotary);
  query.emplace_back(ConstantRescale{{config.query_scaling_factor.value_or(
                                          inverse_root(config.projection_dim)),
                                      config.activation_dtype}});
  auto& key = attention.input_to_key.sublayers;
  key = {linear("key", weights.key, embedding, key_out)};
  add_norm(config, config.key_norm_scale, attention.input_to_key);
  key.emplace_back(rotary);
  attention.input_to_value = {
      {linear("value", weights.value, embedding, key_out)}};
  attention.query_key_to_attn = logits(config, heads, block_index);
  attention.attn_value_to_output = {
      {weighted(heads, key_heads),
       linear("output", weights.output, query_out, embedding)}};
  return attention;
}

}  // namespace kvtape::penzai
