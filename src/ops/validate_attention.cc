// Checks of /attention, /rotary and their overrides per layer, and of the
// masks of the cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

/// Where a field was said: the layer's word stands before the cache's.
template <typename T>
std::string object_of(const std::optional<T>& own, const std::string& path,
                      const char* shared) {
  return own ? path : shared;
}

void check_positive(const char* rule, std::string object, const char* field,
                    std::optional<double> number, Findings& findings) {
  if (!number || (std::isfinite(*number) && *number > 0)) return;
  findings.add({.rule = rule,
                .object = std::move(object),
                .field = field,
                .expected = "a positive number",
                .found = fmt::format("{}", *number)});
}

void check_multiple(const char* of, std::int64_t query_heads,
                    std::optional<std::int64_t> heads,
                    const std::string& object, Findings& findings) {
  if (!heads || *heads <= 0) return;
  if (query_heads > 0 && query_heads % *heads == 0) return;
  findings.add({.rule = "E40",
                .object = object,
                .field = "query_heads",
                .expected = fmt::format("a multiple of {} ({})", of, *heads),
                .found = std::to_string(query_heads)});
}

/// What the checks know of a layer, or of the whole cache where there is none.
struct Scope {
  std::string path;  // "/layers/0"
  AttentionSpec attention;
  RotarySpec rotary;
  std::int64_t window = 0;
};

void check_spec(const Cache& cache, const Scope& scope, const Sizes& sizes,
                Findings& findings) {
  const AttentionSpec spec = merged(scope.attention, cache.attention);
  const auto object = [&](const auto& own) {
    return object_of(own, scope.path, "/attention");
  };
  if (spec.query_heads) {
    const auto path = object(scope.attention.query_heads);
    check_multiple("key_heads", *spec.query_heads, sizes.key_heads, path,
                   findings);
    if (sizes.value_heads != sizes.key_heads)
      check_multiple("value_heads", *spec.query_heads, sizes.value_heads, path,
                     findings);
  }
  check_positive("E41", object(scope.attention.softmax_scale), "softmax_scale",
                 spec.softmax_scale, findings);
  if (spec.logit_softcap.value_or(0) != 0)
    check_positive("E42", object(scope.attention.logit_softcap),
                   "logit_softcap", spec.logit_softcap, findings);
}

// EasyDeL's decode operator reshapes its output to the query's shape, and
// knows no window.
void check_range(const Cache& cache, const Scope& scope, const Sizes& sizes,
                 Findings& findings) {
  const AttentionSpec spec = merged(scope.attention, cache.attention);
  if (spec.visibility != Visibility::kRange) return;
  const bool dims = sizes.key_dim != sizes.value_dim;
  if (!dims && scope.window <= 0) return;
  findings.add({.rule = "W26",
                .object = dims ? object_of(scope.attention.visibility,
                                           scope.path, "/attention")
                               : scope.path,
                .field = dims ? "visibility" : "window",
                .expected = dims ? "key_dim = value_dim" : "0",
                .found = dims ? fmt::format("key_dim {}, value_dim {}",
                                            sizes.key_dim.value_or(0),
                                            sizes.value_dim.value_or(0))
                              : std::to_string(scope.window)});
}

void check_dims(const RotarySpec& spec, const std::string& object,
                const Sizes& sizes, Findings& findings) {
  if (!spec.dims) return;
  const std::int64_t most = sizes.key_dim.value_or(*spec.dims);
  if (*spec.dims >= 0 && *spec.dims % 2 == 0 && *spec.dims <= most) return;
  findings.add({.rule = "E43",
                .object = object,
                .field = "dims",
                .expected = fmt::format("even, from 0 to {}", most),
                .found = std::to_string(*spec.dims)});
}

void check_frequencies(const RotarySpec& spec, const std::string& object,
                       const Sizes& sizes, Findings& findings) {
  if (!spec.inv_freq) return;
  const auto dims = spec.dims ? spec.dims : sizes.key_dim;
  const auto count = static_cast<std::int64_t>(spec.inv_freq->size());
  const auto bad =
      std::count_if(spec.inv_freq->begin(), spec.inv_freq->end(),
                    [](double value) { return !std::isfinite(value); });
  if (bad == 0 && (!dims || count == *dims / 2)) return;
  findings.add(
      {.rule = "E45",
       .object = object,
       .field = "inv_freq",
       .expected = fmt::format("{} finite numbers", dims ? *dims / 2 : count),
       .found = fmt::format("{}, {} of them not finite", count, bad)});
}

void check_rotary(const Cache& cache, const Scope& scope, const Sizes& sizes,
                  Findings& findings) {
  const RotarySpec spec = merged(scope.rotary, cache.rotary);
  const auto object = [&](const auto& own) {
    return object_of(own, scope.path, "/rotary");
  };
  check_dims(spec, object(scope.rotary.dims), sizes, findings);
  check_positive("E44", object(scope.rotary.theta), "theta", spec.theta,
                 findings);
  check_positive("E44", object(scope.rotary.attention_factor),
                 "attention_factor", spec.attention_factor, findings);
  check_frequencies(spec, object(scope.rotary.inv_freq), sizes, findings);
  const bool same =
      spec.keys_rotated.value_or(true) == spec.queries_rotated.value_or(true);
  const bool styled =
      spec.style.value_or(RotaryStyle::kNone) != RotaryStyle::kNone;
  if (same || styled) return;
  findings.add({.rule = "W27",
                .object = object(scope.rotary.keys_rotated),
                .field = "keys_rotated",
                .expected = "as queries_rotated, or a style",
                .found = "they differ, style none"});
}

void check_mask_shape(const std::string& path, const Tensor& mask,
                      std::int64_t rows, Findings& findings) {
  if (is_float(mask.dtype))
    findings.add({.rule = "E27",
                  .object = path,
                  .field = "dtype",
                  .expected = "integers or bools",
                  .found = std::string(name(mask.dtype))});
  const Extents has = extents_of(mask);
  const bool plain =
      has.heads * has.dims * has.position == extent(mask, AxisKind::kPosition);
  if (plain && has_axis(mask, AxisKind::kPosition) && has.batch == rows) return;
  findings.add({.rule = "E37",
                .object = path,
                .field = "shape",
                .expected = fmt::format("[{}, positions]", rows),
                .found = shape_text(mask)});
}

// The mask covers the slots, or all positions that there can be.
void check_mask_length(const Cache& cache, std::int64_t columns,
                       Findings& findings) {
  for (const auto& [number, layer] : cache.layers) {
    if (!is_usable(layer)) continue;
    const std::int64_t slots = extents_of(*either(layer)).position;
    if (columns == slots || columns == cache.metadata.sequence_length) continue;
    findings.add(
        {.rule = "W25",
         .object = "/attention_mask",
         .field = "shape",
         .expected = fmt::format("{} positions, as layer {}", slots, number),
         .found = std::to_string(columns)});
    return;
  }
}

std::int64_t rows_of(const Cache& cache) {
  for (const auto& [number, layer] : cache.layers)
    if (is_usable(layer)) return extents_of(*either(layer)).batch;
  return cache.metadata.batch_size;
}

void check_tokens(const Tensor& tokens, std::int64_t rows, Findings& findings) {
  if (is_float(tokens.dtype))
    findings.add({.rule = "E27",
                  .object = "/tokens",
                  .field = "dtype",
                  .expected = "integers",
                  .found = std::string(name(tokens.dtype))});
  const Extents has = extents_of(tokens);
  if (has.batch == rows && has.batch * has.position == element_count(tokens))
    return;
  findings.add({.rule = "E38",
                .object = "/tokens",
                .field = "shape",
                .expected = fmt::format("[{}, positions]", rows),
                .found = shape_text(tokens)});
}

}  // namespace

void check_attention(const Cache& cache, Findings& findings) {
  const Sizes sizes = sizes_of(cache.metadata);
  std::vector<Scope> scopes = {{.path = "/attention"}};
  for (const auto& [number, layer] : cache.layers)
    scopes.push_back({.path = layer_path(number),
                      .attention = layer.attention,
                      .rotary = layer.rotary,
                      .window = window_of(layer)});
  for (const Scope& scope : scopes) {
    check_spec(cache, scope, sizes, findings);
    check_range(cache, scope, sizes, findings);
    check_rotary(cache, scope, sizes, findings);
  }
}

void check_masks(const Cache& cache, Findings& findings) {
  const std::int64_t rows = rows_of(cache);
  if (cache.attention_mask) {
    check_mask_shape("/attention_mask", *cache.attention_mask, rows, findings);
    check_mask_length(cache, extent(*cache.attention_mask, AxisKind::kPosition),
                      findings);
  }
  if (cache.tokens) check_tokens(*cache.tokens, rows, findings);
}

}  // namespace kvtape
