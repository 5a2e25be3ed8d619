#include "kernels/difference.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cloned.h"
#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

using Half = double __attribute__((vector_size(32)));  // of the lanes
using HalfBits = std::int64_t __attribute__((vector_size(32)));
constexpr std::int64_t kHalf = kLanes / 2;
constexpr std::int64_t kMagnitude = 0x7fffffffffffffff;
constexpr std::int64_t kExponent = 0x7ff0000000000000;

// Bits of a fraction, and the least normal number.
struct Format {
  double scale = 0;  // 2^-bits
  double least = 0;
};
Format format_of(Element element) {
  switch (element) {
    case Element::kF64:
      return {0x1p-52, 0x1p-1022};
    case Element::kF32:
      return {0x1p-23, 0x1p-126};
    case Element::kF16:
      return {0x1p-10, 0x1p-14};
    case Element::kBF16:
      return {0x1p-7, 0x1p-126};
  }
  return {};
}

[[gnu::always_inline]] inline HalfBits bits_at(const double* values) {
  return load<HalfBits>(reinterpret_cast<const std::byte*>(values));
}

[[gnu::always_inline]] inline Half as_numbers(HalfBits bits) {
  return reinterpret_cast<Half>(bits);
}

// What half of the lanes add up.
struct Lanes {
  HalfBits not_finite{};
  HalfBits mismatched{};  // minus their number
  HalfBits differing{};
  Half max_abs{};
  Half max_rel{};
  Half max_ulps{};
  Half sum_ulps{};
  Half squared_error{};
  Half squared_expected{};
  Half squared_actual{};
  Half product{};
};

[[gnu::always_inline]] inline void raise(Half& most, const Half& value) {
  most = value > most ? value : most;
}

template <Allowance::Rule kRule>
[[gnu::always_inline]] inline void add(HalfBits expected_bits,
                                       HalfBits actual_bits,
                                       const Allowance& allowance,
                                       const Format& format, Lanes& lanes) {
  const Half expected = as_numbers(expected_bits);
  const Half actual = as_numbers(actual_bits);
  const HalfBits exponent = expected_bits & kExponent;
  lanes.not_finite |= exponent == kExponent;
  lanes.not_finite |= (actual_bits & kExponent) == kExponent;
  const HalfBits differ = expected_bits != actual_bits;
  const Half magnitude = as_numbers(expected_bits & kMagnitude);
  const Half gap = actual - expected;
  const Half error = as_numbers(reinterpret_cast<HalfBits>(gap) & kMagnitude);
  const Half binade = as_numbers(exponent);
  const Half least = Half{} + format.least;
  const Half unit = (binade > least ? binade : least) * format.scale;
  const Half ulps = error / unit;
  lanes.differing += differ;
  if constexpr (kRule == Allowance::Rule::kTolerance)
    lanes.mismatched += error > allowance.atol + allowance.rtol * magnitude;
  else if constexpr (kRule == Allowance::Rule::kUlps)
    lanes.mismatched += ulps > allowance.ulps;
  else
    lanes.mismatched += differ;
  raise(lanes.max_abs, error);
  raise(lanes.max_rel, error / magnitude);
  raise(lanes.max_ulps, ulps);
  lanes.sum_ulps += ulps;
  lanes.squared_error += error * error;
  lanes.squared_expected += expected * expected;
  lanes.squared_actual += actual * actual;
  lanes.product += expected * actual;
}

// 8 -> 4 -> 2 -> 1.
double folded(const Half& low, const Half& high) {
  const Half four = low + high;
  return (four[0] + four[2]) + (four[1] + four[3]);
}

double largest(const Half& low, const Half& high) {
  double result = 0;
  for (std::int64_t lane = 0; lane < kHalf; ++lane)
    result = std::max({result, low[lane], high[lane]});
  return result;
}

std::int64_t total(const HalfBits& low, const HalfBits& high) {
  const HalfBits four = low + high;
  return -(four[0] + four[1] + four[2] + four[3]);
}

bool any(const HalfBits& bits) {
  return (bits[0] | bits[1] | bits[2] | bits[3]) != 0;
}

std::optional<Difference> result_of(const Lanes& low, const Lanes& high) {
  if (any(low.not_finite | high.not_finite)) return std::nullopt;
  return Difference{
      .mismatched = total(low.mismatched, high.mismatched),
      .differing = total(low.differing, high.differing),
      .max_abs = largest(low.max_abs, high.max_abs),
      .max_rel = largest(low.max_rel, high.max_rel),
      .max_ulps = largest(low.max_ulps, high.max_ulps),
      .sum_ulps = folded(low.sum_ulps, high.sum_ulps),
      .squared_error = folded(low.squared_error, high.squared_error),
      .squared_expected = folded(low.squared_expected, high.squared_expected),
      .squared_actual = folded(low.squared_actual, high.squared_actual),
      .product = folded(low.product, high.product)};
}

template <Allowance::Rule kRule>
[[gnu::always_inline]] inline void add_run(const double* expected,
                                           const double* actual,
                                           std::int64_t count,
                                           const Allowance& allowance,
                                           std::array<Lanes, 2>& lanes) {
  const Format format = format_of(allowance.ulp_of);
  Lanes low;
  Lanes high;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    add<kRule>(bits_at(expected + i), bits_at(actual + i), allowance, format,
               low);
    add<kRule>(bits_at(expected + i + kHalf), bits_at(actual + i + kHalf),
               allowance, format, high);
  }
  lanes = {low, high};
}

KVTAPE_CLONED void add_lanes(const double* expected, const double* actual,
                             std::int64_t count, const Allowance& allowance,
                             std::array<Lanes, 2>& lanes) {
  using Rule = Allowance::Rule;
  if (allowance.rule == Rule::kTolerance)
    add_run<Rule::kTolerance>(expected, actual, count, allowance, lanes);
  else if (allowance.rule == Rule::kUlps)
    add_run<Rule::kUlps>(expected, actual, count, allowance, lanes);
  else
    add_run<Rule::kBits>(expected, actual, count, allowance, lanes);
}

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

void count_non_finite(double expected, double actual,
                      const Allowance& allowance, Difference& result) {
  ++result.non_finite;
  result.nan_expected += std::isnan(expected);
  result.nan_actual += std::isnan(actual);
  result.inf_expected += std::isinf(expected);
  result.inf_actual += std::isinf(actual);
  result.non_finite_mismatched += mismatches(expected, actual, allowance);
}

using Words64 = std::uint64_t __attribute__((vector_size(32)));
using Words32 = std::uint32_t __attribute__((vector_size(32)));
using Words16 = std::uint16_t __attribute__((vector_size(32)));

// Vectors of words whose exponents have the bits of kMask.
template <typename Words, typename Word, Word kMask>
[[gnu::always_inline]] inline bool same(const std::byte* a, const std::byte* b,
                                        std::int64_t bytes) {
  constexpr std::int64_t kPiece = 4096;
  constexpr auto kStep = static_cast<std::int64_t>(sizeof(Words));
  std::int64_t at = 0;
  while (at + kStep <= bytes) {
    const std::int64_t end = std::min(at + kPiece, bytes / kStep * kStep);
    Words apart{};
    Words wild{};
    for (; at < end; at += kStep) {
      const auto x = load<Words>(a + at);
      apart |= x ^ load<Words>(b + at);
      wild |= static_cast<Words>((x & kMask) == kMask);
    }
    if (any(reinterpret_cast<HalfBits>(apart | wild))) return false;
  }
  for (; at < bytes; at += static_cast<std::int64_t>(sizeof(Word))) {
    const Word x = load<Word>(a + at);
    if (x != load<Word>(b + at) || (x & kMask) == kMask) return false;
  }
  return true;
}

KVTAPE_CLONED bool same_f64(const std::byte* a, const std::byte* b,
                            std::int64_t bytes) {
  return same<Words64, std::uint64_t, 0x7ff0000000000000>(a, b, bytes);
}
KVTAPE_CLONED bool same_f32(const std::byte* a, const std::byte* b,
                            std::int64_t bytes) {
  return same<Words32, std::uint32_t, 0x7f800000>(a, b, bytes);
}
KVTAPE_CLONED bool same_f16(const std::byte* a, const std::byte* b,
                            std::int64_t bytes) {
  return same<Words16, std::uint16_t, 0x7c00>(a, b, bytes);
}
KVTAPE_CLONED bool same_bf16(const std::byte* a, const std::byte* b,
                             std::int64_t bytes) {
  return same<Words16, std::uint16_t, 0x7f80>(a, b, bytes);
}

using Floats = float __attribute__((vector_size(16)));

KVTAPE_CLONED void widen_floats(const float* floats, std::int64_t count,
                                double* out) {
  for (std::int64_t i = 0; i < count; i += kHalf) {
    const auto four =
        load<Floats>(reinterpret_cast<const std::byte*>(floats + i));
    store(reinterpret_cast<std::byte*>(out + i),
          __builtin_convertvector(four, Half));
  }
}

// A NaN of a format with that many bits of fraction, as f64.
double nan_of(std::uint64_t bits, int width, int fraction) {
  const std::uint64_t sign = bits >> (width - 1) << 63;
  const std::uint64_t payload = bits & ((1ULL << fraction) - 1);
  return std::bit_cast<double>(sign | 0x7ffULL << 52 |
                               payload << (52 - fraction));
}

}  // namespace

double ulp_at(double number, Element element) {
  const Format format = format_of(element);
  const auto bits = std::bit_cast<std::int64_t>(number) & kExponent;
  return std::max(std::bit_cast<double>(bits), format.least) * format.scale;
}

double allowed_error(const Allowance& allowance, double expected) {
  switch (allowance.rule) {
    case Allowance::Rule::kTolerance:
      return allowance.atol + allowance.rtol * std::abs(expected);
    case Allowance::Rule::kUlps:
      return allowance.ulps * ulp_at(expected, allowance.ulp_of);
    case Allowance::Rule::kBits:
      break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

bool mismatches(double expected, double actual, const Allowance& allowance) {
  if (std::isnan(expected) && std::isnan(actual) && allowance.nan_differs)
    return true;
  if (allowance.rule == Allowance::Rule::kBits)
    return !same_bits(expected, actual);
  if (std::isnan(expected) || std::isnan(actual))
    return !(std::isnan(expected) && std::isnan(actual));
  if (std::isinf(expected) || std::isinf(actual)) return expected != actual;
  const double error = std::abs(actual - expected);
  if (allowance.rule == Allowance::Rule::kUlps)
    return error / ulp_at(expected, allowance.ulp_of) > allowance.ulps;
  return error > allowed_error(allowance, expected);
}

std::optional<Difference> finite_difference(const double* expected,
                                            const double* actual,
                                            std::int64_t count,
                                            const Allowance& allowance) {
  std::array<Lanes, 2> lanes;
  add_lanes(expected, actual, padded_run(count), allowance, lanes);
  return result_of(lanes[0], lanes[1]);
}

Difference difference(const double* expected, const double* actual,
                      std::int64_t count, const Allowance& allowance) {
  std::array<std::array<double, kLanes>, 5> sums{};
  Difference result;
  for (std::int64_t i = 0; i < count; ++i) {
    const double e = expected[i];
    const double a = actual[i];
    result.differing += !same_bits(e, a);
    result.mismatched += mismatches(e, a, allowance);
    if (!std::isfinite(e) || !std::isfinite(a)) {
      count_non_finite(e, a, allowance, result);
      continue;
    }
    const double error = std::abs(a - e);
    const double ulps = error / ulp_at(e, allowance.ulp_of);
    const double relative = error / std::abs(e);
    result.max_abs = std::max(result.max_abs, error);
    if (relative > result.max_rel) result.max_rel = relative;
    result.max_ulps = std::max(result.max_ulps, ulps);
    const std::array<double, 5> terms{ulps, error * error, e * e, a * a, e * a};
    const auto lane = static_cast<std::size_t>(i % kLanes);
    for (std::size_t term = 0; term < terms.size(); ++term)
      sums[term][lane] += terms[term];
  }
  const auto fold = [](const std::array<double, kLanes>& s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  };
  result.sum_ulps = fold(sums[0]);
  result.squared_error = fold(sums[1]);
  result.squared_expected = fold(sums[2]);
  result.squared_actual = fold(sums[3]);
  result.product = fold(sums[4]);
  return result;
}

double exact_number(const std::byte* at, Element element) {
  switch (element) {
    case Element::kF64:
      return load<double>(at);
    case Element::kF32: {
      const auto bits = load<std::uint32_t>(at);
      if ((bits & 0x7fffffffU) > 0x7f800000U) return nan_of(bits, 32, 23);
      return static_cast<double>(std::bit_cast<float>(bits));
    }
    case Element::kF16: {
      const auto bits = load<std::uint16_t>(at);
      if ((bits & 0x7fffU) > 0x7c00U) return nan_of(bits, 16, 10);
      return static_cast<double>(from_f16(bits));
    }
    case Element::kBF16: {
      const auto bits = load<std::uint16_t>(at);
      if ((bits & 0x7fffU) > 0x7f80U) return nan_of(bits, 16, 7);
      return static_cast<double>(from_bf16(bits));
    }
  }
  return 0;
}

void widen_run(const std::byte* data, Element element, std::int64_t count,
               double* out) {
  constexpr std::int64_t kFloats = 256;  // whole lanes
  std::array<float, kFloats> floats;
  if (element == Element::kF64) {
    std::memcpy(out, data, static_cast<std::size_t>(count) * sizeof(double));
    std::fill(out + count, out + padded_run(count), 0.0);
    return;
  }
  for (std::int64_t at = 0; at < count; at += kFloats) {
    const std::int64_t some = std::min(kFloats, count - at);
    active().widen(data + at * bytes_of(element), element, 1, some,
                   floats.data());
    std::fill(floats.begin() + some, floats.begin() + padded_run(some), 0.0F);
    widen_floats(floats.data(), padded_run(some), out + at);
  }
}

bool same_and_finite(const std::byte* a, const std::byte* b, Element element,
                     std::int64_t count) {
  const std::int64_t bytes = count * bytes_of(element);
  switch (element) {
    case Element::kF64:
      return same_f64(a, b, bytes);
    case Element::kF32:
      return same_f32(a, b, bytes);
    case Element::kF16:
      return same_f16(a, b, bytes);
    case Element::kBF16:
      return same_bf16(a, b, bytes);
  }
  return false;
}

}  // namespace kvtape::kernels
