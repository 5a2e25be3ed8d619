// A dump of one device, by its sizes.
#include "kvtape/sharding.h"
#include "ops/validate_findings.h"

namespace kvtape {
namespace {

// How many parts of `has` make what was said; 1 where nothing was said.
std::optional<std::int64_t> factor(std::optional<std::int64_t> said,
                                   std::int64_t has) {
  if (!said) return 1;
  if (has < 1 || *said % has != 0) return std::nullopt;
  return *said / has;
}

struct Said {
  std::optional<std::int64_t> batch, position, heads, dims;
};

// Along the axes of one tensor; false where it is no part.
bool factors_of(const Said& said, const Extents& has, ShardFactors& factors) {
  const auto batch = factor(said.batch, has.batch);
  const auto position = factor(said.position, has.position);
  const auto head = factor(said.heads, has.heads);
  const auto dim = factor(said.dims, has.dims);
  if (!batch || !position || !head || !dim) return false;
  factors = {
      .batch = *batch, .position = *position, .head = *head, .dim = *dim};
  return true;
}

bool same(const ShardFactors& a, const ShardFactors& b) {
  return a.batch == b.batch && a.position == b.position && a.head == b.head &&
         a.dim == b.dim;
}

}  // namespace

std::optional<ShardFactors> shard_factors(const Cache& cache) {
  const Sizes sizes = sizes_of(cache.metadata);
  std::optional<ShardFactors> all;
  for (const auto& [number, layer] : cache.layers) {
    if (!layer.key && !layer.value) continue;
    if (!is_usable(layer)) return std::nullopt;
    const bool linear = layout_of(layer) == Layout::kLinear;
    const auto length = linear ? sizes.length : std::nullopt;
    for (const auto& [tensor, heads, dims] :
         {std::tuple(&layer.key, sizes.key_heads, sizes.key_dim),
          std::tuple(&layer.value, sizes.value_heads, sizes.value_dim)}) {
      if (!*tensor) continue;
      ShardFactors factors;
      if (!factors_of({sizes.batch, length, heads, dims}, extents_of(**tensor),
                      factors))
        return std::nullopt;
      if (!all) all = factors;
      if (!same(*all, factors)) return std::nullopt;
    }
  }
  if (!all || all->parts() <= 1) return std::nullopt;
  return all;
}

}  // namespace kvtape
