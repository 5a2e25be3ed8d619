// penzai's sampling modes: where new tokens stand, and what they see.
#include <fmt/format.h>

#include <utility>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/array.h"
#include "systems/penzai_array.h"
#include "systems/silent.h"

namespace kvtape::penzai {
namespace {

std::int64_t tokens_in(const NamedArray& tokens) {
  const auto count = size_of(named_shape(tokens), "seq");
  if (!count)
    throw Error({.field = "tokens",
                 .expected = "an axis 'seq'",
                 .found = dict_text(named_shape(tokens))});
  return *count;
}

void check_slots(std::int64_t end_index, std::int64_t count,
                 std::int64_t cache_len, const std::string& instead) {
  if (end_index >= 0 && end_index + count <= cache_len) return;
  refuse_silent(
      {.field = "cache_end_index",
       .expected =
           fmt::format("room for {} tokens in {} slots", count, cache_len),
       .found = fmt::format("slots [{}, {})", end_index, end_index + count)},
      instead);
}

// The attention with keys whose positions come from the cache.
Attention with_key_positions(Attention attention) {
  const auto change = [](auto layer) {
    if (layer.kv_positions_input_name != "token_positions")
      throw Error({.text = "Could not automatically convert attention mask "
                           "layer with non-standard positions input name: " +
                           layer.kv_positions_input_name});
    layer.kv_positions_input_name = "kv_token_positions";
    return layer;
  };
  attention = select<ApplyCausalAttentionMask>(attention).apply(change);
  return select<ApplyCausalSlidingWindowAttentionMask>(attention).apply(change);
}

// The number of tokens before that are not pads; -1 for pads.
// tokens: the last axis is the sequence.
Values positions_of(Values tokens, std::int64_t pad_id) {
  const auto length = static_cast<std::size_t>(tokens.axes.back().size);
  const auto pad = static_cast<double>(pad_id);
  double next = 0;
  for (std::size_t i = 0; i < tokens.values.size(); ++i) {
    if (i % length == 0) next = 0;
    double& value = tokens.values[i];
    value = value == pad ? -1 : next++;
  }
  tokens.dtype = DType::kI32;
  return tokens;
}

// lax.dynamic_slice along the last axis.
Values slice(const Values& x, std::int64_t start, std::int64_t count) {
  const std::int64_t length = x.axes.back().size;
  start = clamped_start(start, length, count);
  Values result{.dtype = x.dtype, .axes = x.axes};
  result.axes.back().size = count;
  for (auto row = x.values.begin(); row != x.values.end(); row += length)
    result.values.insert(result.values.end(), row + start, row + start + count);
  return result;
}

void check_batch_axes(const NamedArray& tokens, const NamedShape& batch_axes) {
  const NamedShape found = named_shape(tokens);
  bool same = found.size() == batch_axes.size() + 1;
  for (const NamedAxis& axis : batch_axes)
    same = same && size_of(found, axis.name) == axis.size;
  if (!same)
    throw Error({.field = "tokens",
                 .expected = dict_text(batch_axes) + " and 'seq'",
                 .found = dict_text(found)});
}

}  // namespace

GemmaKVCachingInputs GemmaKVCachingInputs::from_basic_subsegments(
    const NamedArray& tokens, const GemmaKVCachingState& state, Mode mode) {
  const std::int64_t count = tokens_in(tokens);
  if (mode == Mode::kChecked)
    check_slots(state.cache_end_index, count, state.cache_len,
                "penzai moves the write inside and lets tokens see slots "
                "that are not theirs");
  const Values positions =
      values_of(arange("seq", count, state.cache_end_index));
  const Values slots = values_of(arange("kv_seq", state.cache_len));
  return {.tokens = tokens,
          .positions = array_of(positions),
          .attention_mask = array_of(combined(
              "greater_equal", positions, slots, DType::kBool,
              [](double query, double key) { return query >= key ? 1 : 0; })),
          .sampling_state = state};
}

SideInputs GemmaKVCachingInputs::side_inputs() const {
  return {{"token_positions", positions},
          {"attn_mask", attention_mask},
          {"cache_end_index", scalar(sampling_state.cache_end_index)}};
}

GemmaKVCachingState GemmaKVCachingInputs::next_state(
    std::vector<KVCache> kv_caches) const {
  GemmaKVCachingState next = sampling_state;
  next.kv_caches = std::move(kv_caches);
  next.cache_end_index += tokens_in(tokens);
  return next;
}

KVCachingTransformerLM KVCachingTransformerLM::from_uncached(
    const LlamalikeTransformerConfig& config,
    const std::vector<Attention>& uncached, std::int64_t cache_len,
    const NamedShape& batch_axes, std::int64_t pad_id,
    const std::string& variable_name_prefix) {
  NamedShape cached_axes = batch_axes;
  for (const NamedAxis& axis : config.common_head_axes())
    cached_axes.push_back(axis);
  cached_axes.push_back({"projection", config.projection_dim});
  NamedShape token_axes = batch_axes;
  token_axes.push_back({"seq", cache_len});
  KVCachingTransformerLM model{
      .attentions = {},
      .previous_tokens = zeros(token_axes, DType::kI32),
      .cache_len = cache_len,
      .batch_axes = batch_axes,
      .pad_id = pad_id};
  for (const Attention& attention : uncached) {
    model.attentions.push_back(KVCachingAttention::from_uncached(
        with_key_positions(attention), "seq", cache_len, cached_axes,
        "cache_end_index",
        fmt::format("{}/cache_{}", variable_name_prefix,
                    model.attentions.size()),
        config.activation_dtype));
    model.attentions.back().type = kV2Attention;
  }
  return model;
}

SideInputs KVCachingTransformerLM::advance(const NamedArray& tokens,
                                           Mode mode) {
  const std::int64_t count = tokens_in(tokens);
  check_batch_axes(tokens, batch_axes);
  if (mode == Mode::kChecked)
    check_slots(cache_end_index, count, cache_len,
                "penzai writes the last slots instead");
  const NamedArray updated =
      dynamic_update_slice(previous_tokens, tokens, "seq", cache_end_index);
  const Values positions = positions_of(values_of(updated), pad_id);
  SideInputs inputs{
      {"token_positions", array_of(slice(positions, cache_end_index, count))},
      {"kv_token_positions", array_of(positions)},
      {"cache_end_index", scalar(cache_end_index)}};
  previous_tokens = updated;
  cache_end_index += count;
  return inputs;
}

}  // namespace kvtape::penzai
