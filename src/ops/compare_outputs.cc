// The one place where an output is in or out of tolerance.
#include "ops/compare_outputs.h"

#include <cmath>
#include <limits>
#include <tuple>

#include "systems/slab_copy.h"

namespace kvtape {
namespace {

// Absolute error; NaN where exactly one of both is NaN. Equal infinities are
// no error, and nothing else is near an infinity.
double error_of(double expected, double actual) {
  if (std::isnan(expected) && std::isnan(actual)) return 0;
  if (expected == actual) return 0;
  return std::fabs(actual - expected);
}

bool out_of_tolerance(const ReplayPoint& point) {
  if (point.abs_error == 0) return false;
  if (std::isinf(point.expected)) return true;
  return !(point.abs_error <= point.allowed);
}

struct TokenSums {
  std::int64_t compared = 0;
  std::int64_t out = 0;
  ReplayPoint first;  // out of tolerance
  ReplayPoint worst;
};

TokenSums sums_of(const TokenOutputs& outputs, const Tolerance& tolerance) {
  TokenSums sums;
  ReplayPoint point = outputs.where;
  const SlabView& expected = outputs.expected;
  const std::int64_t size = bytes_per_element(expected.dtype);
  const float* actual = outputs.actual;
  for (point.head = 0; point.head < expected.shape[1]; ++point.head) {
    const std::byte* head =
        expected.data + point.head * expected.strides[1] * size;
    for (point.dim = 0; point.dim < expected.shape[2]; ++point.dim) {
      point.expected = load_number(
          expected.dtype, head + point.dim * expected.strides[2] * size);
      point.actual = static_cast<double>(*actual++);
      point.abs_error = error_of(point.expected, point.actual);
      point.allowed =
          tolerance.atol + tolerance.rtol * std::fabs(point.expected);
      if (sums.compared++ == 0 || worse(point, sums.worst)) sums.worst = point;
      if (out_of_tolerance(point) && sums.out++ == 0) sums.first = point;
    }
  }
  return sums;
}

void add(const TokenSums& sums, ReplayRow& row) {
  if (row.compared == 0 || worse(sums.worst, row.worst)) row.worst = sums.worst;
  row.compared += sums.compared;
  row.out_of_tolerance += sums.out;
}

}  // namespace

bool earlier(const ReplayPoint& a, const ReplayPoint& b) {
  return std::tie(a.step, a.layer, a.row, a.token, a.head, a.dim) <
         std::tie(b.step, b.layer, b.row, b.token, b.head, b.dim);
}

bool worse(const ReplayPoint& a, const ReplayPoint& b) {
  const bool a_nan = std::isnan(a.abs_error);
  const bool b_nan = std::isnan(b.abs_error);
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a.abs_error != b.abs_error) return a.abs_error > b.abs_error;
  return earlier(a, b);
}

void compare_token(const TokenOutputs& outputs, std::size_t step_row,
                   std::size_t layer_row, ReplayReport& report) {
  const TokenSums sums = sums_of(outputs, report.tolerance);
  if (sums.compared == 0) return;
  add(sums, report.by_step[step_row]);
  add(sums, report.by_layer[layer_row]);
  double& error = report.errors[layer_row][step_row];
  if (!std::isnan(error) &&
      (std::isnan(sums.worst.abs_error) || sums.worst.abs_error > error))
    error = sums.worst.abs_error;
  if (!report.worst || worse(sums.worst, *report.worst))
    report.worst = sums.worst;
  if (sums.out > 0 && (!report.first || earlier(sums.first, *report.first)))
    report.first = sums.first;
  report.compared += sums.compared;
  report.out_of_tolerance += sums.out;
}

}  // namespace kvtape
