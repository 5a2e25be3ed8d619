// Where the datasets of a file get their bytes from.
#pragma once

#include <cstddef>
#include <memory>

#include "kvtape/tensor.h"

namespace kvtape {

/// Makes the sources of the datasets among a file's objects, by their number.
class Sources {
 public:
  virtual ~Sources() = default;

  /// The axes are those of the dataset. Throws Error.
  virtual std::shared_ptr<const SlabSource> source(std::size_t object) = 0;

  /// The same elements along one axis: how quantized codes are read.
  virtual std::shared_ptr<const SlabSource> flat_source(std::size_t object) = 0;
};

}  // namespace kvtape
