#include "ops/diff_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/elementary.h"

namespace kvtape {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double cosine_of(const kernels::Difference& run) {
  if (run.squared_error == 0) return 1;
  if (run.squared_expected == 0 || run.squared_actual == 0) return 0;
  const double lengths =
      std::sqrt(run.squared_expected) * std::sqrt(run.squared_actual);
  return std::clamp(run.product / lengths, -1.0, 1.0);
}

double token_error_of(const kernels::Difference& run) {
  if (run.non_finite_mismatched > 0) return kInf;
  if (run.squared_error == 0) return 0;
  if (!std::isfinite(run.squared_error) || !std::isfinite(run.squared_expected))
    return run.max_rel;  // huge f64
  return std::sqrt(run.squared_error) / std::sqrt(run.squared_expected);
}

}  // namespace

double DiffStats::rms() const {
  return std::sqrt(squared_error / static_cast<double>(finite()));
}

double DiffStats::mean_ulps() const {
  return sum_ulps / static_cast<double>(finite());
}

double DiffStats::sqnr() const {
  if (squared_error == 0) return kInf;
  if (squared_expected == 0) return -kInf;
  constexpr double kDecibels = 3.0102999566398120;  // 10 log10(2)
  return kDecibels *
         (kernels::log2(squared_expected) - kernels::log2(squared_error));
}

void add_token(const kernels::Difference& run, std::int64_t count,
               DiffStats& stats) {
  add({.compared = count,
       .mismatched = run.mismatched,
       .differing = run.differing,
       .nan_expected = run.nan_expected,
       .nan_actual = run.nan_actual,
       .inf_expected = run.inf_expected,
       .inf_actual = run.inf_actual,
       .non_finite = run.non_finite,
       .non_finite_mismatched = run.non_finite_mismatched,
       .max_abs = run.max_abs,
       .max_rel = run.max_rel,
       .max_ulps = run.max_ulps,
       .sum_ulps = run.sum_ulps,
       .squared_error = run.squared_error,
       .squared_expected = run.squared_expected,
       .cosine = cosine_of(run),
       .token_error = token_error_of(run)},
      stats);
}

void add(const DiffStats& later, DiffStats& stats) {
  stats.compared += later.compared;
  stats.mismatched += later.mismatched;
  stats.differing += later.differing;
  stats.nan_expected += later.nan_expected;
  stats.nan_actual += later.nan_actual;
  stats.inf_expected += later.inf_expected;
  stats.inf_actual += later.inf_actual;
  stats.non_finite += later.non_finite;
  stats.non_finite_mismatched += later.non_finite_mismatched;
  stats.max_abs = std::max(stats.max_abs, later.max_abs);
  stats.max_rel = std::max(stats.max_rel, later.max_rel);
  stats.max_ulps = std::max(stats.max_ulps, later.max_ulps);
  stats.sum_ulps += later.sum_ulps;
  stats.squared_error += later.squared_error;
  stats.squared_expected += later.squared_expected;
  stats.cosine = std::min(stats.cosine, later.cosine);
  stats.token_error = std::max(stats.token_error, later.token_error);
}

bool earlier(const DiffPoint& a, const DiffPoint& b) {
  const auto order = [](const DiffPoint& p) {
    return std::tuple(p.position, p.layer, p.kind, p.row, p.head, p.dim);
  };
  return order(a) < order(b);
}

bool worse(const DiffPoint& a, const DiffPoint& b) {
  const auto error = [](const DiffPoint& p) {
    return std::isnan(p.abs_error) ? kInf : p.abs_error;
  };
  if (error(a) != error(b)) return error(a) > error(b);
  return earlier(a, b);
}

}  // namespace kvtape
