// What both kernels' scan share: the hash and the sorting out of non-finite
// elements. The hash runs over 32-bit little-endian words in 16 lanes, each
// h = (h ^ word) * kScanPrime, h ^= h >> kScanShift (without the shift two
// changed signs would cancel); a last stripe is filled up with zeros.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "kernels/elements.h"

namespace kvtape::kernels {

inline constexpr std::int64_t kStripe = 64;  // bytes: 16 words
inline constexpr std::uint32_t kScanPrime = 0x9e3779b1;
inline constexpr int kScanShift = 15;
using ScanLanes = std::array<std::uint32_t, kStripe / 4>;

/// Where the lanes begin: different, so that equal words do not cancel.
constexpr ScanLanes scan_start() {
  ScanLanes lanes{};
  for (std::uint32_t lane = 0; lane < lanes.size(); ++lane)
    lanes[lane] = (lane + 1) * 0x85ebca77U;
  return lanes;
}

/// Bits of a word that are not a sign: a word of f32, the upper word of f64,
/// two f16. [even word, odd word]
constexpr std::array<std::uint32_t, 2> magnitude_masks(Element element) {
  switch (element) {
    case Element::kF64:
      return {0xffffffffU, 0x7fffffffU};
    case Element::kF32:
      return {0x7fffffffU, 0x7fffffffU};
    default:
      return {0x7fff7fffU, 0x7fff7fffU};
  }
}

/// One 64-bit number of the lanes and the number of bytes.
inline std::uint64_t scan_hash(const ScanLanes& lanes, std::int64_t bytes) {
  constexpr std::uint64_t kPrime = 0x9e3779b97f4a7c15ULL;
  std::uint64_t hash = static_cast<std::uint64_t>(bytes) * kPrime;
  for (std::size_t lane = 0; lane < lanes.size(); lane += 2) {
    hash ^= lanes[lane] | std::uint64_t{lanes[lane + 1]} << 32;
    hash = (hash ^ hash >> 32) * kPrime;
  }
  return hash ^ hash >> 29;
}

/// Counts NaN and Inf one by one; for runs that are known to have some.
void count_non_finite(const std::byte* data, Element element,
                      std::int64_t count, Scan& scan);

}  // namespace kvtape::kernels
