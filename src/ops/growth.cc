// A least-squares line through the logarithms of errors.
#include "ops/growth.h"

#include <cmath>

#include "kernels/elementary.h"

namespace kvtape {
namespace {

constexpr int kLeastErrors = 8;
constexpr double kLeastDoublings = 2;
constexpr double kLeastExplained = 0.8;

struct Sums {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  double first = 0, last = 0;  // steps
};

void add(Sums& sums, double x, double y) {
  if (sums.n == 0) sums.first = x;
  sums.last = x;
  sums.n += 1;
  sums.x += x;
  sums.y += y;
  sums.xx += x * x;
  sums.xy += x * y;
  sums.yy += y * y;
}

}  // namespace

std::optional<double> doubling_steps(const std::vector<double>& errors) {
  Sums sums;
  for (std::size_t step = 0; step < errors.size(); ++step) {
    if (!std::isfinite(errors[step])) return std::nullopt;
    if (errors[step] > 0)
      add(sums, static_cast<double>(step), kernels::log2(errors[step]));
  }
  if (sums.n < kLeastErrors) return std::nullopt;
  const double xx = sums.xx - sums.x * sums.x / sums.n;
  const double xy = sums.xy - sums.x * sums.y / sums.n;
  const double yy = sums.yy - sums.y * sums.y / sums.n;
  const double slope = xy / xx;
  if (!(slope * (sums.last - sums.first) >= kLeastDoublings))
    return std::nullopt;
  if (xy * xy < kLeastExplained * xx * yy) return std::nullopt;
  return 1 / slope;
}

}  // namespace kvtape
