// What storing a number does to it, written out again for tests: rounding to a
// dtype, int8 and NF4. Shares no code with the library.
#pragma once

#include <vector>

#include "kvtape/tensor.h"

namespace kvtape::reference {

/// The nearest number of the dtype, ties to even; too large gives infinity.
double rounded(double value, DType dtype);

/// What quantized values are read back as. `values`: all elements of a tensor,
/// in C order of (batch, position, head, dim), already of `dtype`.
std::vector<double> requantized(const std::vector<double>& values,
                                Quantization::Scheme scheme, DType dtype,
                                std::int64_t block);

/// All elements in C order of (batch, position or token, head, dim).
std::vector<double> elements(const Tensor& tensor);

}  // namespace kvtape::reference
