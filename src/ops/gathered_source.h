// Tensors that are put together from parts.
#pragma once

#include <string>
#include <vector>

#include "kvtape/sharding.h"

namespace kvtape {

/// A part and its place in the whole.
struct GatheredPart {
  const Tensor* tensor = nullptr;
  ShardPlace place;
};

/// The whole of these sizes [batch, position, head, dim], with the axes of
/// `like` in their order; the parts fill it. Throws Error, said of `path`,
/// where several batch axes would have to be divided.
Tensor gathered(const Tensor& like, const std::array<std::int64_t, 4>& shape,
                const std::vector<GatheredPart>& parts,
                const std::string& path);

}  // namespace kvtape
