// Range reduction and polynomials in double precision.
#include "kernels/elementary.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace kvtape::kernels {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Adding 1.5 * 2^52 rounds to an integer.
constexpr double kRound = 0x1.8p52;

template <std::size_t kTerms>
double horner(double x, const double (&terms)[kTerms]) {
  double sum = terms[kTerms - 1];
  for (std::size_t i = kTerms - 1; i-- > 0;) sum = sum * x + terms[i];
  return sum;
}

// fdlibm's k_sin.c and k_cos.c, |x| <= pi/4.
double sine_of(double x) {
  constexpr double kTerms[] = {
      -1.66666666666666324348e-01, 8.33333333332248946124e-03,
      -1.98412698298579493134e-04, 2.75573137070700676789e-06,
      -2.50507602534068634195e-08, 1.58969099521155010221e-10};
  const double z = x * x;
  return x + x * z * horner(z, kTerms);
}

double cosine_of(double x) {
  constexpr double kTerms[] = {
      4.16666666666666019037e-02, -1.38888888888741095749e-03,
      2.48015872894767294178e-05, -2.75573143513906633035e-07,
      2.08757232129817482790e-09, -1.13596475577881948265e-11};
  const double z = x * x;
  const double half = 0.5 * z;
  const double high = 1.0 - half;
  return high + ((1.0 - high - half) + z * z * horner(z, kTerms));
}

}  // namespace

SinCos sin_cos(double angle) {
  constexpr double kLargest = 0x1p30;
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  // pi/2 in two parts, 106 bits; fma keeps the products exact.
  constexpr double kHalfPi = 0x1.921fb54442d18p+0;
  constexpr double kHalfPiRest = 0x1.1a62633145c07p-54;
  if (!(std::fabs(angle) <= kLargest)) return {.sine = kNaN, .cosine = kNaN};
  const double turns = angle * kTwoOverPi + kRound - kRound;
  const double x =
      std::fma(-turns, kHalfPiRest, std::fma(-turns, kHalfPi, angle));
  const double s = sine_of(x);
  const double c = cosine_of(x);
  switch (static_cast<std::int64_t>(turns) & 3) {
    case 0:
      return {.sine = s, .cosine = c};
    case 1:
      return {.sine = c, .cosine = -s};
    case 2:
      return {.sine = -s, .cosine = -c};
    default:
      return {.sine = -c, .cosine = s};
  }
}

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m-1)/(m+1)).
double log2(double x) {
  constexpr double kSmallestNormal = 0x1p-1022;
  constexpr double kTwoOverLn2 = 0x1.71547652b82fep+1;
  constexpr double kTerms[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,
                               1.0 / 9,  1.0 / 11, 1.0 / 13, 1.0 / 15,
                               1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
  if (!(x > 0) || x > std::numeric_limits<double>::max()) return kNaN;
  if (x < kSmallestNormal) return log2(x * 0x1p54) - 54;
  constexpr std::uint64_t kHalfRoot = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const auto exponent = static_cast<std::int64_t>(bits - kHalfRoot) >> 52;
  const double m = std::bit_cast<double>(
      bits - (static_cast<std::uint64_t>(exponent) << 52));
  const double s = (m - 1) / (m + 1);
  return static_cast<double>(exponent) +
         s * kTwoOverLn2 * horner(s * s, kTerms);
}

double exp2(double x) {
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  // Taylor's 1/n!; |y| <= 0.35.
  constexpr double kTerms[] = {1.0,
                               1.0,
                               1.0 / 2,
                               1.0 / 6,
                               1.0 / 24,
                               1.0 / 120,
                               1.0 / 720,
                               1.0 / 5040,
                               1.0 / 40320,
                               1.0 / 362880,
                               1.0 / 3628800,
                               1.0 / 39916800,
                               1.0 / 479001600,
                               1.0 / 6227020800};
  if (x != x) return x;
  if (x >= 1024) return std::numeric_limits<double>::infinity();
  if (x < -1022) return 0;
  const double whole = x + kRound - kRound;
  const double power = horner((x - whole) * kLn2, kTerms);
  // In two factors: 2^1024 is not a double, and half of it is.
  const auto n = static_cast<std::int64_t>(whole);
  const auto factor =
      std::bit_cast<double>(static_cast<std::uint64_t>(n / 2 + 1023) << 52);
  const auto rest =
      std::bit_cast<double>(static_cast<std::uint64_t>(n - n / 2 + 1023) << 52);
  return power * factor * rest;
}

}  // namespace kvtape::kernels
