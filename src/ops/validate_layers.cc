// Checks of which layers there are, and of their shapes against the metadata.
#include <map>

#include "kvtape/sharding.h"
#include "ops/validate_checks.h"

namespace kvtape {
namespace {

std::string numbered(std::int64_t count) {
  return count == 1 ? "layer 0" : "layers 0 to " + std::to_string(count - 1);
}

// Absent numbers below num_hidden_layers: a few by name, all of them counted.
void check_missing(const Cache& cache, Findings& findings) {
  const std::int64_t count = cache.metadata.num_hidden_layers;
  std::int64_t present = 0;
  for (const auto& [number, layer] : cache.layers)
    present += number >= 0 && number < count ? 1 : 0;
  if (count <= 0 || present == count) return;
  std::vector<std::int64_t> missing;
  for (std::int64_t number = 0; number < count && missing.size() < 9; ++number)
    if (!cache.layers.contains(number)) missing.push_back(number);
  findings.add({.rule = "E17",
                .object = "/layers",
                .field = "layers",
                .expected = numbered(count),
                .found = std::to_string(count - present) +
                         " missing: " + text_of(missing)});
}

void check_one(std::int64_t number, const LayerCache& layer, const Cache& cache,
               Findings& findings) {
  const std::int64_t count = cache.metadata.num_hidden_layers;
  const std::string path = layer_path(number);
  if (number < 0 || (count > 0 && number >= count))
    findings.add({.rule = "E18",
                  .object = path,
                  .field = "number",
                  .expected = "below " + std::to_string(count),
                  .found = std::to_string(number)});
  if (!layer.key && !layer.value)
    findings.add({.rule = "W12",
                  .object = path,
                  .field = "key",
                  .expected = "key and value",
                  .found = "neither"});
  else if (!layer.key || !layer.value)
    findings.add({.rule = "E19",
                  .object = path,
                  .field = layer.key ? "value" : "key",
                  .expected = "key and value",
                  .found = layer.key ? "key only" : "value only"});
}

struct Misfit {
  std::string_view rule;
  std::string_view field;
  std::int64_t expected;
  std::int64_t found;
  bool operator==(const Misfit&) const = default;
};

void check_size(std::vector<Misfit>& misfits, Misfit misfit) {
  if (misfit.expected != misfit.found) misfits.push_back(misfit);
}

// What does not fit in one key or value.
std::vector<Misfit> misfits_of(const LayerCache& layer, const Tensor& tensor,
                               bool is_key, const Sizes& sizes) {
  const Extents has = extents_of(tensor);
  const auto heads = is_key ? sizes.key_heads : sizes.value_heads;
  const auto dims = is_key ? sizes.key_dim : sizes.value_dim;
  std::vector<Misfit> result;
  if (sizes.batch)
    check_size(result, {"E21", "batch", *sizes.batch, has.batch});
  if (sizes.length && layout_of(layer) == Layout::kLinear)
    check_size(result, {"E22", "position", *sizes.length, has.position});
  if (heads) check_size(result, {"E23", "head", *heads, has.heads});
  if (dims) check_size(result, {"E24", "dim", *dims, has.dims});
  return result;
}

// The keys and values of a cache that can be looked at.
template <typename Visit>
void for_each_tensor(const Cache& cache, const Visit& visit) {
  for (const auto& [number, layer] : cache.layers)
    for (const bool is_key : {true, false}) {
      const auto& tensor = is_key ? layer.key : layer.value;
      if (tensor && has_usable_axes(*tensor))
        visit(number, layer, *tensor, is_key);
    }
}

// "batch 1/2, head 1/4".
std::string parts_text(const ShardFactors& factors) {
  std::string parts;
  for (const auto& [axis, count] :
       {std::pair("batch", factors.batch),
        std::pair("position", factors.position),
        std::pair("head", factors.head), std::pair("dim", factors.dim)})
    if (count > 1)
      parts += (parts.empty() ? "" : ", ") + std::string(axis) + " 1/" +
               std::to_string(count);
  return parts;
}

void check_axes(const Cache& cache, Findings& findings) {
  for (const auto& [number, layer] : cache.layers)
    for (const bool is_key : {true, false}) {
      const auto& tensor = is_key ? layer.key : layer.value;
      if (!tensor) continue;
      const std::string path =
          layer_path(number) + (is_key ? "/key" : "/value");
      if (!has_usable_axes(*tensor))
        findings.add({.rule = "E20",
                      .object = path,
                      .field = "axes",
                      .expected = "one position, one dim, at most one head",
                      .found = shape_text(*tensor)});
      if (!is_float(tensor->dtype))
        findings.add({.rule = "E39",
                      .object = path,
                      .field = "dtype",
                      .expected = "f16, bf16, f32 or f64",
                      .found = std::string(name(tensor->dtype))});
    }
}

// Key and value of a layer, where the metadata do not tell already.
void check_pair(std::int64_t number, const LayerCache& layer,
                const Sizes& sizes, Findings& findings) {
  if (!layer.key || !layer.value || !is_usable(layer)) return;
  const Extents key = extents_of(*layer.key);
  const Extents value = extents_of(*layer.value);
  const bool told_batch = sizes.batch.has_value();
  const bool told_length = sizes.length && layout_of(layer) == Layout::kLinear;
  const bool same = (told_batch || key.batch == value.batch) &&
                    (told_length || key.position == value.position);
  if (same) return;
  findings.add({.rule = "E25",
                .object = layer_path(number),
                .field = "shape",
                .expected = "the rows and positions of the key, " +
                            shape_text(*layer.key),
                .found = "value " + shape_text(*layer.value)});
}

}  // namespace

void check_presence(const Cache& cache, Findings& findings) {
  check_missing(cache, findings);
  for (const auto& [number, layer] : cache.layers)
    check_one(number, layer, cache, findings);
}

void check_shapes(const Cache& cache, Findings& findings) {
  const Sizes sizes = sizes_of(cache.metadata);
  check_axes(cache, findings);
  for (const auto& [number, layer] : cache.layers)
    check_pair(number, layer, sizes, findings);
  if (const auto factors = shard_factors(cache)) {
    findings.add({.rule = "E26",
                  .object = "/layers",
                  .field = "shape",
                  .expected = "the sizes of the metadata",
                  .found = parts_text(*factors) +
                           " of them in every key and value: one of " +
                           std::to_string(factors->parts())});
    return;
  }
  for_each_tensor(cache, [&](std::int64_t number, const LayerCache& layer,
                             const Tensor& tensor, bool is_key) {
    for (const Misfit& misfit : misfits_of(layer, tensor, is_key, sizes))
      findings.add({.rule = misfit.rule,
                    .object = layer_path(number) + (is_key ? "/key" : "/value"),
                    .field = std::string(misfit.field),
                    .expected = std::to_string(misfit.expected),
                    .found = std::to_string(misfit.found) + " in " +
                             shape_text(tensor)});
  });
}

}  // namespace kvtape
