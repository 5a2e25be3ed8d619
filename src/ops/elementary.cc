// Series and reductions in basic arithmetic and fma, which are exact to the
// bit everywhere.
#include "ops/elementary.h"

#include <array>
#include <cmath>
#include <cstdint>

namespace kvtape {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1;
// pi/2 in three parts.
constexpr double kHalfPi1 = 0x1.921fb54442d18p+0;
constexpr double kHalfPi2 = 0x1.1a62633145c07p-54;
constexpr double kHalfPi3 = -0x1.f1976b7ed8fbcp-110;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// Minimax on [-pi/4, pi/4], from Sun's fdlibm (k_sin.c, k_cos.c).
constexpr std::array<double, 6> kSin = {
    1.58969099521155010221e-10, -2.50507602534068634195e-08,
    2.75573137070700676789e-06, -1.98412698298579493134e-04,
    8.33333333332248946124e-03, -1.66666666666666324348e-01};
constexpr std::array<double, 6> kCos = {
    -1.13596475577881948265e-11, 2.08757232129817482790e-09,
    -2.75573143513906633035e-07, 2.48015872894767294178e-05,
    -1.38888888888741095749e-03, 4.16666666666666019037e-02};

template <std::size_t N>
double horner(const std::array<double, N>& coefficients, double x) {
  double result = 0;
  for (double coefficient : coefficients)
    result = std::fma(result, x, coefficient);
  return result;
}

// To nearest, ties to even, for |x| < 2^51.
double nearest(double x) {
  constexpr double kShift = 0x1.8p52;
  return (x + kShift) - kShift;
}

}  // namespace

double log2_of(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < kSqrtHalf) {
    mantissa *= 2;
    --exponent;
  }
  // ln m = 2 artanh s, |s| < 0.172: 12 terms reach 1e-18.
  const double s = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int term = 25; term >= 1; term -= 2)
    sum = std::fma(sum, s * s, 1.0 / term);
  return exponent + 2 * s * sum * kLog2E;
}

double exp2_of(double x) {
  const double whole = nearest(x);
  const double y = (x - whole) * kLn2;
  double sum = 1;
  for (int term = 15; term >= 1; --term) sum = std::fma(sum, y / term, 1.0);
  return std::ldexp(sum, static_cast<int>(whole));
}

SinCos sin_cos_of(double angle) {
  const double quarters = nearest(angle * kTwoOverPi);
  double x = std::fma(-quarters, kHalfPi1, angle);
  x = std::fma(-quarters, kHalfPi2, x);
  x = std::fma(-quarters, kHalfPi3, x);
  const double z = x * x;
  const double sine = std::fma(x * z, horner(kSin, z), x);
  const double cosine = std::fma(z * z, horner(kCos, z), 1 - z / 2);
  switch (static_cast<std::int64_t>(quarters) & 3) {
    case 0:
      return {.sin = sine, .cos = cosine};
    case 1:
      return {.sin = cosine, .cos = -sine};
    case 2:
      return {.sin = -sine, .cos = -cosine};
    default:
      return {.sin = -cosine, .cos = sine};
  }
}

}  // namespace kvtape
