// Tensors as EasyDeL quantizes them.
#pragma once

#include "kvtape/tensor.h"

namespace kvtape {

/// The tensor as EasyDeL quantizes it, in memory. Requires axes
/// batch, position, head, dim and a dtype of f32, f16 or bf16.
Tensor quantized(const Tensor& tensor, Quantization::Scheme scheme,
                 std::int64_t block_size);

}  // namespace kvtape
