// The words of attention and rotary specs, their merging and their defaults.
#include "kvtape/attention.h"

#include <cmath>

#include "core/names.h"

namespace kvtape {
namespace {

constexpr Words<HeadMap, 2> kHeadMaps{
    {{HeadMap::kRepeat, "repeat"}, {HeadMap::kTile, "tile"}}};
constexpr Words<Visibility, 3> kVisibilities{{{Visibility::kCausal, "causal"},
                                              {Visibility::kMask, "mask"},
                                              {Visibility::kRange, "range"}}};
constexpr Words<MaskedRows, 3> kMaskedRows{{{MaskedRows::kUniform, "uniform"},
                                            {MaskedRows::kZeros, "zeros"},
                                            {MaskedRows::kNaN, "nan"}}};
constexpr Words<RotaryStyle, 3> kRotaryStyles{
    {{RotaryStyle::kNone, "none"},
     {RotaryStyle::kHalf, "half"},
     {RotaryStyle::kInterleaved, "interleaved"}}};

template <typename T>
const std::optional<T>& first_of(const std::optional<T>& upper,
                                 const std::optional<T>& lower) {
  return upper ? upper : lower;
}

}  // namespace

std::string_view name(HeadMap value) { return word_of(kHeadMaps, value); }
std::string_view name(Visibility value) {
  return word_of(kVisibilities, value);
}
std::string_view name(MaskedRows value) { return word_of(kMaskedRows, value); }
std::string_view name(RotaryStyle value) {
  return word_of(kRotaryStyles, value);
}
std::optional<HeadMap> head_map_from_name(std::string_view text) {
  return value_of(kHeadMaps, text);
}
std::optional<Visibility> visibility_from_name(std::string_view text) {
  return value_of(kVisibilities, text);
}
std::optional<MaskedRows> masked_rows_from_name(std::string_view text) {
  return value_of(kMaskedRows, text);
}
std::optional<RotaryStyle> rotary_style_from_name(std::string_view text) {
  return value_of(kRotaryStyles, text);
}

AttentionSpec merged(const AttentionSpec& upper, const AttentionSpec& lower) {
  return {
      .query_heads = first_of(upper.query_heads, lower.query_heads),
      .softmax_scale = first_of(upper.softmax_scale, lower.softmax_scale),
      .logit_softcap = first_of(upper.logit_softcap, lower.logit_softcap),
      .head_map = first_of(upper.head_map, lower.head_map),
      .visibility = first_of(upper.visibility, lower.visibility),
      .masked_rows = first_of(upper.masked_rows, lower.masked_rows),
  };
}

RotarySpec merged(const RotarySpec& upper, const RotarySpec& lower) {
  // theta and inv_freq say the same thing: the layer's word stands for both.
  const bool own = upper.theta || upper.inv_freq;
  return {
      .keys_rotated = first_of(upper.keys_rotated, lower.keys_rotated),
      .queries_rotated = first_of(upper.queries_rotated, lower.queries_rotated),
      .style = first_of(upper.style, lower.style),
      .theta = own ? upper.theta : lower.theta,
      .dims = first_of(upper.dims, lower.dims),
      .attention_factor =
          first_of(upper.attention_factor, lower.attention_factor),
      .inv_freq = own ? upper.inv_freq : lower.inv_freq,
  };
}

Attention resolved(const AttentionSpec& spec, std::int64_t key_heads,
                   std::int64_t key_dim) {
  const Attention defaults;
  return {
      .query_heads = spec.query_heads.value_or(key_heads),
      .softmax_scale = spec.softmax_scale.value_or(
          key_dim > 0 ? 1.0 / std::sqrt(static_cast<double>(key_dim)) : 1.0),
      .logit_softcap = spec.logit_softcap.value_or(defaults.logit_softcap),
      .head_map = spec.head_map.value_or(defaults.head_map),
      .visibility = spec.visibility.value_or(defaults.visibility),
      .masked_rows = spec.masked_rows.value_or(defaults.masked_rows),
  };
}

Rotary resolved(const RotarySpec& spec, std::int64_t key_dim) {
  const Rotary defaults;
  return {
      .keys_rotated = spec.keys_rotated.value_or(defaults.keys_rotated),
      .queries_rotated =
          spec.queries_rotated.value_or(defaults.queries_rotated),
      .style = spec.style.value_or(defaults.style),
      .dims = spec.dims.value_or(key_dim),
      .theta = spec.theta.value_or(defaults.theta),
      .attention_factor =
          spec.attention_factor.value_or(defaults.attention_factor),
      .inv_freq = spec.inv_freq.value_or(defaults.inv_freq),
  };
}

}  // namespace kvtape
