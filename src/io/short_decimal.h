// Decimals of few digits, which is most of them, without a general conversion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kvtape/dtype.h"

namespace kvtape {

/// Where reading stopped, behind how many numbers.
struct ShortDecimals {
  const char* end = nullptr;
  std::int64_t count = 0;
};

/// Reads JSON numbers, `most` at most, as floats of the dtype, each rounded
/// once to nearest, and the comma and blanks behind each. Stops before a number
/// that takes more than two exact factors: many digits, a large exponent, one
/// that overflows, becomes 0 or lies halfway; before what is no such number, or
/// has no comma behind it; and where less than kShortRoom characters are left.
ShortDecimals read_short_decimals(std::string_view text, DType dtype,
                                  std::byte* to, std::int64_t most);

inline constexpr std::ptrdiff_t kShortRoom = 64;

}  // namespace kvtape
