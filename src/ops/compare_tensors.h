// Recorded tensors against computed ones, bit for bit.
#pragma once

#include <string>

#include "kvtape/replay.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// Of a cache: [batch, position, head, dim], those that are there, in any
/// memory order. NaN is equal to NaN. A quantized one is compared by codes and
/// scales with a quantized one, else by what it stands for.
FinalComparison compare_tensors(const std::string& object,
                                const Tensor& recorded, const Tensor& found);

/// Integers or bools of any axes and dtypes, in memory order; axes of size 1
/// may be absent.
FinalComparison compare_integer_tensors(const std::string& object,
                                        const Tensor& recorded,
                                        const Tensor& found);

}  // namespace kvtape
