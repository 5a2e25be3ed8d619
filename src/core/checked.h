// Sizes that come from files are multiplied and added here, nowhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace kvtape {

/// The result, or nothing where it does not fit; negative operands never fit.
inline std::optional<std::int64_t> checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) return {};
  return result;
}
inline std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &result)) return {};
  return result;
}
inline std::optional<std::int64_t> checked_product(
    std::span<const std::int64_t> sizes) {
  std::int64_t result = 1;
  bool zero = false;  // an extent of 0 does not excuse an overflow elsewhere
  for (std::int64_t size : sizes) {
    if (size < 0) return {};
    if (size == 0) {
      zero = true;
      continue;
    }
    if (__builtin_mul_overflow(result, size, &result)) return {};
  }
  return zero ? 0 : result;
}

}  // namespace kvtape
