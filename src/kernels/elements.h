// Elements as bytes: widening and narrowing of single numbers, by integer
// arithmetic only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace kvtape::kernels {

constexpr std::int64_t bytes_of(Element element) {
  switch (element) {
    case Element::kF64:
      return 8;
    case Element::kF32:
      return 4;
    case Element::kF16:
    case Element::kBF16:
      return 2;
  }
  return 0;
}

/// Of a number as it is stored.
constexpr std::int64_t bytes_of(const Rows& rows) {
  return rows.scales == nullptr ? bytes_of(rows.element) : 1;
}

template <typename T>
[[gnu::always_inline]] inline T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
[[gnu::always_inline]] inline void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

/// A signalling NaN becomes quiet, as F16C does it.
[[gnu::always_inline]] inline float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude > 0x7c00)
    return std::bit_cast<float>(sign | 0x7fc00000U | (magnitude << 13));
  if (magnitude == 0x7c00) return std::bit_cast<float>(sign | 0x7f800000U);
  // As a float 2^112 too small, subnormals included; the product is exact.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(scaled));
}

[[gnu::always_inline]] inline float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// Rounds once to a 16-bit format with that many exponent bits (5: f16,
/// 8: bf16).
template <int kExponentBits>
std::uint16_t narrow16(double value) {
  constexpr int kFraction = 15 - kExponentBits;
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr std::uint64_t kInf = ((1ULL << kExponentBits) - 1) << kFraction;
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const std::uint64_t sign = bits >> 48 & 0x8000;
  const std::uint64_t magnitude = bits & ~(1ULL << 63);
  if (magnitude > 0x7ffULL << 52) {
    const std::uint64_t payload =
        magnitude >> (52 - kFraction) & ((1ULL << kFraction) - 1);
    return static_cast<std::uint16_t>(sign | kInf | 1ULL << (kFraction - 1) |
                                      payload);
  }
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  if (exponent > kBias) return static_cast<std::uint16_t>(sign | kInf);
  const int below = exponent < 1 - kBias ? 1 - kBias - exponent : 0;
  const int drop = 52 - kFraction + below;
  if (drop > 54) return static_cast<std::uint16_t>(sign);
  const std::uint64_t significand =
      (magnitude & ((1ULL << 52) - 1)) | 1ULL << 52;
  const std::uint64_t rest = significand & ((1ULL << drop) - 1);
  const std::uint64_t half = 1ULL << (drop - 1);
  std::uint64_t kept = significand >> drop;
  if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  // The implied bit, if any, adds one to the exponent; so does a carry.
  if (below == 0)
    kept += static_cast<std::uint64_t>(exponent + kBias - 1) << kFraction;
  return static_cast<std::uint16_t>(sign | (kept < kInf ? kept : kInf));
}

inline std::uint16_t to_f16(double value) { return narrow16<5>(value); }
inline std::uint16_t to_bf16(double value) { return narrow16<8>(value); }

template <Element kElement>
[[gnu::always_inline]] inline float element_at(const std::byte* data,
                                               std::int64_t index) {
  const std::byte* at = data + index * bytes_of(kElement);
  if constexpr (kElement == Element::kF64)
    return static_cast<float>(load<double>(at));
  else if constexpr (kElement == Element::kF32)
    return load<float>(at);
  else if constexpr (kElement == Element::kF16)
    return from_f16(load<std::uint16_t>(at));
  else
    return from_bf16(load<std::uint16_t>(at));
}

/// `value` rounded to the element's format, as a float.
inline float rounded_to(Element element, float value) {
  switch (element) {
    case Element::kF16:
      return from_f16(to_f16(static_cast<double>(value)));
    case Element::kBF16:
      return from_bf16(to_bf16(static_cast<double>(value)));
    default:
      return value;
  }
}

}  // namespace kvtape::kernels
