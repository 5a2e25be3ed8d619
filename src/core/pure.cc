#include "kvtape/pure.h"

#include <string>
#include <utility>

#include "kvtape/error.h"

namespace kvtape {
namespace {

LayerCache with(LayerCache rest, PureLayer layer) {
  rest.key = std::move(layer.key);
  rest.value = std::move(layer.value);
  rest.index = std::move(layer.index);
  rest.starts = std::move(layer.starts);
  return rest;
}

}  // namespace

PureCache to_pure(const Cache& cache) {
  PureCache pure{.layers = {}, .metadata = cache.metadata, .rest = cache};
  for (auto& [number, rest] : pure.rest.layers) {
    pure.layers.push_back({rest.key, rest.value, rest.index, rest.starts});
    rest = with(std::move(rest), {});
  }
  return pure;
}

Cache from_pure(const PureCache& pure) {
  if (pure.layers.size() != pure.rest.layers.size())
    throw Error({.object = "from_pure",
                 .field = "layers",
                 .expected = std::to_string(pure.rest.layers.size()),
                 .found = std::to_string(pure.layers.size())});
  Cache cache = pure.rest;
  cache.metadata = pure.metadata;
  auto layer = pure.layers.begin();
  for (auto& [number, rest] : cache.layers)
    rest = with(std::move(rest), *layer++);
  return cache;
}

Cache from_pure(std::vector<PureLayer> layers, const CacheMetadata& metadata) {
  Cache cache{.metadata = metadata};
  std::int64_t number = 0;
  for (PureLayer& layer : layers)
    cache.layers[number++] = with({}, std::move(layer));
  return cache;
}

}  // namespace kvtape
