// Tensors as EasyDeL quantizes them.
#pragma once

#include <span>

#include "kvtape/tensor.h"

namespace kvtape {

/// The tensor as EasyDeL quantizes it, in memory. Requires axes
/// batch, position, head, dim and a dtype of f32, f16 or bf16.
Tensor quantized(const Tensor& tensor, Quantization::Scheme scheme,
                 std::int64_t block_size);

/// What a quantized tensor stands for, in its dtype and order of axes.
/// Requires as many bytes as its elements take. Throws Error where there are
/// fewer codes or scales than elements need.
void dequantize(const Tensor& tensor, std::span<std::byte> out);

}  // namespace kvtape
