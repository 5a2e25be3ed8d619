// What elements stand for, read from one end to the other.
#pragma once

#include <functional>
#include <span>

#include "kernels/summary.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// Calls `visit` with the numbers that a quantized tensor stands for, in C
/// order, a part at a time. Throws Error where codes, scales and shape do not
/// belong together.
void for_each_dequantized(
    const Tensor& tensor,
    const std::function<void(std::span<const float>)>& visit);

/// Adds elements of any dtype, whole ones. Integers of 64 bits are rounded to
/// f64.
void add_elements(DType dtype, std::span<const std::byte> elements,
                  kernels::Summarizer& summarizer);

}  // namespace kvtape
