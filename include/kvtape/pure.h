// The pure form of a cache: EasyDeL's to_pure and from_pure, and what they
// lose.
#pragma once

#include <optional>
#include <vector>

#include "kvtape/cache.h"

namespace kvtape {

/// EasyDeL's [key, value, index, starts] of a layer.
struct PureLayer {
  std::optional<Tensor> key;
  std::optional<Tensor> value;
  std::optional<Tensor> index;
  std::optional<Tensor> starts;
};

/// EasyDeL's pair of layers and metadata. Its lists have no absent layers and
/// forget layer_index, windows and all else: that stands in `rest`, a cache
/// without the tensors above. Layer i of the list is the i-th of rest.layers.
struct PureCache {
  std::vector<PureLayer> layers;
  CacheMetadata metadata;
  Cache rest;
};

/// Copies no tensor's bytes.
PureCache to_pure(const Cache& cache);

/// from_pure(to_pure(cache)) is the cache, bit for bit. Throws Error where the
/// list and rest.layers differ in number.
Cache from_pure(const PureCache& pure);

/// EasyDeL's own: layers are numbered from 0, and layer_index stays unknown.
Cache from_pure(std::vector<PureLayer> layers, const CacheMetadata& metadata);

}  // namespace kvtape
