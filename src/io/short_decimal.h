// Decimals of few digits, which is most of them, without a general conversion.
#pragma once

#include <cstddef>

#include "kvtape/dtype.h"

namespace kvtape {

/// Reads a JSON number that begins at `at` and is followed by a comma, a
/// bracket or a blank as a float of the dtype, rounded once to nearest, and
/// returns its end. Returns null, and has written nothing of use, where that
/// takes more than two exact factors: many digits, a large exponent, a number
/// that overflows, becomes 0 or lies halfway; where it is no such number; and
/// where less than kShortRoom characters are there.
const char* read_short_decimal(const char* at, const char* end, DType dtype,
                               std::byte* to);

inline constexpr std::ptrdiff_t kShortRoom = 64;

}  // namespace kvtape
