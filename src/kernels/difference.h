// Expected and actual numbers against each other: the same bits on any CPU.
// Sums over a run go in kLanes lanes (lane = place in the run modulo kLanes)
// in f64, folded 8 -> 4 -> 2 -> 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/kernels.h"

namespace kvtape::kernels {

/// What an actual number may be; one of three rules.
struct Allowance {
  enum class Rule : std::uint8_t {
    kTolerance,  // |actual - expected| <= atol + rtol |expected|
    kUlps,       // at most so many units in the last place of `ulp_of`
    kBits,       // the bits of the expected number
  };
  Rule rule = Rule::kTolerance;
  double rtol = 0;
  double atol = 0;
  double ulps = 0;
  Element ulp_of = Element::kF32;
  bool nan_differs = false;  // NaN is not equal to NaN; Inf is to itself
};

/// The distance from a finite number to the next one of its binade in the
/// format of an element.
double ulp_at(double number, Element element);

/// What an error may be; NaN where the rule is about bits.
double allowed_error(const Allowance& allowance, double expected);

/// A run of pairs. Errors, sums and squares are of pairs of finite numbers.
struct Difference {
  std::int64_t mismatched = 0;
  std::int64_t differing = 0;  // in their bits
  std::int64_t nan_expected = 0;
  std::int64_t nan_actual = 0;
  std::int64_t inf_expected = 0;
  std::int64_t inf_actual = 0;
  std::int64_t non_finite = 0;             // pairs with a NaN or an Inf
  std::int64_t non_finite_mismatched = 0;  // of these
  double max_abs = 0;
  double max_rel = 0;
  double max_ulps = 0;
  double sum_ulps = 0;
  double squared_error = 0;
  double squared_expected = 0;
  double squared_actual = 0;
  double product = 0;
  friend bool operator==(const Difference&, const Difference&) = default;
};

/// Numbers that the arrays of a run must hold: whole lanes, +0 beyond `count`.
constexpr std::int64_t padded_run(std::int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

/// `count` elements as f64, exactly but for NaN payloads, to whole lanes.
void widen_run(const std::byte* data, Element element, std::int64_t count,
               double* out);

/// Of padded runs; nothing where one of the numbers is not finite.
std::optional<Difference> finite_difference(const double* expected,
                                            const double* actual,
                                            std::int64_t count,
                                            const Allowance& allowance);

/// The same of any numbers.
Difference difference(const double* expected, const double* actual,
                      std::int64_t count, const Allowance& allowance);

/// Whether a pair is out of what is allowed.
bool mismatches(double expected, double actual, const Allowance& allowance);

/// A number exactly; a NaN with its sign and payload, signalling or not.
double exact_number(const std::byte* at, Element element);

/// Whether all bits are the same and all numbers are finite.
bool same_and_finite(const std::byte* a, const std::byte* b, Element element,
                     std::int64_t count);

}  // namespace kvtape::kernels
