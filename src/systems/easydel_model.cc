// EasyDeL's caches in terms of the model.
#include <fmt/format.h>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/easydel_checks.h"
#include "systems/silent.h"

namespace kvtape::easydel {
namespace {

// A list has an entry for every number below the last.
constexpr std::int64_t kMostLayers = 1 << 16;

LayerCache layer_of(const TransformerCacheView& view) {
  LayerCache layer;
  layer.key = view.key;
  layer.value = view.value;
  layer.index = view.index;
  layer.starts = view.starts;
  layer.layer_index = view.layer_index;
  return layer;
}

TransformerCacheView view_of(const LayerCache& layer,
                             const CacheMetadata& metadata) {
  const Tensor none = int_row(std::vector<std::int64_t>(
      layer.key ? static_cast<std::size_t>(extent(*layer.key, AxisKind::kBatch))
                : 0,
      0));
  return {.key = layer.key,
          .value = layer.value,
          .index = layer.index.value_or(none),
          .starts = layer.starts.value_or(none),
          .metadata = metadata,
          .layer_index = layer.layer_index};
}

}  // namespace

Cache to_cache(const TransformerCache& cache, Mode mode) {
  Cache result;
  for (std::size_t number = 0; number < cache.size(); ++number) {
    const auto& view = cache.views[number];
    if (!view) continue;
    if (mode == Mode::kChecked && !result.layers.empty() &&
        result.metadata != view->metadata)
      refuse_silent({.object = fmt::format("views[{}]", number),
                     .field = "metadata",
                     .expected = "that of the other views",
                     .found = "another"},
                    "EasyDeL's pure form keeps that of the last view");
    result.metadata = view->metadata;
    result.layers[static_cast<std::int64_t>(number)] = layer_of(*view);
  }
  return result;
}

TransformerCache from_cache(const Cache& cache) {
  const std::int64_t count =
      cache.layers.empty() ? 0 : cache.layers.rbegin()->first + 1;
  if (count > kMostLayers || (count > 0 && cache.layers.begin()->first < 0))
    throw Error({.object = "/layers",
                 .expected = fmt::format("numbers below {}", kMostLayers),
                 .found = std::to_string(count - 1)});
  TransformerCache result = TransformerCache::init_empty(count);
  for (const auto& [number, layer] : cache.layers)
    result.views[static_cast<std::size_t>(number)] =
        view_of(layer, cache.metadata);
  return result;
}

}  // namespace kvtape::easydel
