// EasyDeL's two quantized forms (eformer's Array8B and ArrayNF4), to the bit:
// every operation is rounded to the logical dtype, one of f32, f16 and bf16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace kvtape::kernels {

/// weight [row, dim] times scale [row] (elements of the logical dtype).
void dequantize_int8(const std::int8_t* weight, const std::byte* scale,
                     Element logical, std::int64_t rows, std::int64_t dim,
                     float* out);

/// data: [row, dim], numbers of the logical dtype. A row with NaN gets the
/// scale NaN, one with Inf the scale Inf; codes saturate.
void quantize_int8(const float* data, Element logical, std::int64_t rows,
                   std::int64_t dim, std::int8_t* weight, std::byte* scale);

/// Elements [first, first + count) of the array in C order. packed: two codes
/// a byte, the earlier in the upper half; absmax: one element of the logical
/// dtype for each run of `block` elements.
void dequantize_nf4(const std::uint8_t* packed, const std::byte* absmax,
                    Element logical, std::int64_t block, std::int64_t first,
                    std::int64_t count, float* out);

/// data: [count], numbers of the logical dtype. Requires an even count, and
/// blocks that divide it.
void quantize_nf4(const float* data, Element logical, std::int64_t block,
                  std::int64_t count, std::uint8_t* packed, std::byte* absmax);

}  // namespace kvtape::kernels
