// Equality of caches: bits of tensors by named axes.
#pragma once

#include <optional>
#include <string>

#include "kvtape/cache.h"
#include "kvtape/tape.h"

namespace kvtape {

/// Where two tensors differ first, "[0, 3, 1, 7]" by the axes of `a`; "shape",
/// "dtype", ... where they cannot be compared; nothing where they are equal.
/// The same bits in another memory order are equal; NaN is equal to a NaN of
/// the same bits only, and -0 is not 0. Quantized tensors are equal where
/// codes and scales are.
std::optional<std::string> first_difference(const Tensor& a, const Tensor& b);

/// "/layers/7/key [0, 3, 1, 7]", "/metadata"; nothing where both are equal.
/// Stored layouts and Tape::findings do not count.
std::optional<std::string> first_difference(const Cache& a, const Cache& b);
std::optional<std::string> first_difference(const Tape& a, const Tape& b);

}  // namespace kvtape
