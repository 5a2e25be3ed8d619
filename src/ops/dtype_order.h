// Which of two float dtypes holds fewer numbers.
#pragma once

#include <optional>

#include "kvtape/tensor.h"

namespace kvtape {

/// From exact to coarse: f64, f32, f16, bf16.
constexpr int coarseness(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 1;
    case DType::kF16:
      return 2;
    case DType::kBF16:
      return 3;
    default:
      return 0;
  }
}

constexpr DType coarser(DType a, DType b) {
  return coarseness(b) > coarseness(a) ? b : a;
}

inline void coarsen(DType& dtype, const std::optional<Tensor>& tensor) {
  if (tensor) dtype = coarser(dtype, tensor->dtype);
}

}  // namespace kvtape
