// How attention reads a cache: two records that no seed system stores and
// every replay needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace kvtape {

/// Which key head a query head uses: h / group, or h mod key_heads.
enum class HeadMap : std::uint8_t { kRepeat, kTile };
/// Which slots a token sees (man/kvtape-cache.5, "Visibility").
enum class Visibility : std::uint8_t { kCausal, kMask, kRange };
/// What a row that sees no slot gives.
enum class MaskedRows : std::uint8_t { kUniform, kZeros, kNaN };
/// How rotary embedding pairs dimensions: i with i + dims/2, or 2i with 2i+1.
enum class RotaryStyle : std::uint8_t { kNone, kHalf, kInterleaved };

std::string_view name(HeadMap value);      // "repeat", "tile"
std::string_view name(Visibility value);   // "causal", "mask", "range"
std::string_view name(MaskedRows value);   // "uniform", "zeros", "nan"
std::string_view name(RotaryStyle value);  // "none", "half", "interleaved"
std::optional<HeadMap> head_map_from_name(std::string_view name);
std::optional<Visibility> visibility_from_name(std::string_view name);
std::optional<MaskedRows> masked_rows_from_name(std::string_view name);
std::optional<RotaryStyle> rotary_style_from_name(std::string_view name);

/// What was said about attention; what was not said is absent. One for the
/// whole cache, and one per layer that overrides it field by field.
struct AttentionSpec {
  std::optional<std::int64_t> query_heads;
  std::optional<double> softmax_scale;
  std::optional<double> logit_softcap;  // 0 = none
  std::optional<HeadMap> head_map;
  std::optional<Visibility> visibility;
  std::optional<MaskedRows> masked_rows;
  friend bool operator==(const AttentionSpec&, const AttentionSpec&) = default;
};

/// What was said about rotary embedding.
struct RotarySpec {
  std::optional<bool> keys_rotated;     // in the cache
  std::optional<bool> queries_rotated;  // in the trace
  std::optional<RotaryStyle> style;
  std::optional<double> theta;
  std::optional<std::int64_t> dims;  // leading dimensions that rotate
  std::optional<double> attention_factor;
  std::optional<std::vector<double>> inv_freq;  // [dims/2], instead of theta
  friend bool operator==(const RotarySpec&, const RotarySpec&) = default;
};

/// `upper` where it says something, `lower` elsewhere.
AttentionSpec merged(const AttentionSpec& upper, const AttentionSpec& lower);
RotarySpec merged(const RotarySpec& upper, const RotarySpec& lower);

/// A spec with its defaults filled in.
struct Attention {
  std::int64_t query_heads = 0;
  double softmax_scale = 0;
  double logit_softcap = 0;
  HeadMap head_map = HeadMap::kRepeat;
  Visibility visibility = Visibility::kCausal;
  MaskedRows masked_rows = MaskedRows::kUniform;
};
struct Rotary {
  bool keys_rotated = true;
  bool queries_rotated = true;
  RotaryStyle style = RotaryStyle::kNone;
  std::int64_t dims = 0;
  double theta = 10000;
  double attention_factor = 1;
  std::vector<double> inv_freq;  // [dims/2]; empty: theta^(-2i/dims)
};

/// Defaults: query_heads = key_heads, softmax_scale = key_dim^-0.5.
Attention resolved(const AttentionSpec& spec, std::int64_t key_heads,
                   std::int64_t key_dim);
/// Defaults: rotated keys and queries, no style, dims = key_dim, theta 10000.
Rotary resolved(const RotarySpec& spec, std::int64_t key_dim);

}  // namespace kvtape
