// What a run of numbers looks like.
#include "kernels/summary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace kvtape::kernels {
namespace {

// Sums run in this many lanes, folded in pairs.
constexpr std::size_t kSumLanes = 8;

template <typename Term>
double sum_of(std::span<const double> values, Term term) {
  std::array<double, kSumLanes> lanes{};
  std::size_t i = 0;
  for (; i + kSumLanes <= values.size(); i += kSumLanes)
    for (std::size_t lane = 0; lane < kSumLanes; ++lane)
      lanes[lane] += term(values[i + lane]);
  for (; i < values.size(); ++i) lanes[i % kSumLanes] += term(values[i]);
  for (std::size_t width = kSumLanes / 2; width > 0; width /= 2)
    for (std::size_t lane = 0; lane < width; ++lane)
      lanes[lane] += lanes[lane + width];
  return lanes[0];
}

bool is_finite(double value) {
  return std::fabs(value) <= std::numeric_limits<double>::max();
}

}  // namespace

double Summary::standard_deviation() const {
  return finite() == 0 ? 0 : std::sqrt(squares / static_cast<double>(finite()));
}

Summary summary_of(std::span<const double> block) {
  Summary summary{.count = std::ssize(block)};
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const double value : block) {
    summary.zeros += value == 0;
    summary.nan += value != value;
    const bool finite = is_finite(value);
    summary.inf += !finite && value == value;
    low = finite && value < low ? value : low;
    high = finite && value > high ? value : high;
  }
  if (summary.finite() == 0) return summary;
  summary.min = low;
  summary.max = high;
  const double count = static_cast<double>(summary.finite());
  summary.mean =
      sum_of(block,
             [](double value) { return is_finite(value) ? value : 0.0; }) /
      count;
  summary.squares = sum_of(block, [mean = summary.mean](double value) {
    const double distance = is_finite(value) ? value - mean : 0.0;
    return distance * distance;
  });
  return summary;
}

Summary merged(const Summary& before, const Summary& next) {
  if (next.finite() == 0 || before.finite() == 0) {
    Summary result = next.finite() == 0 ? before : next;
    result.count = before.count + next.count;
    result.zeros = before.zeros + next.zeros;
    result.nan = before.nan + next.nan;
    result.inf = before.inf + next.inf;
    return result;
  }
  const auto a = static_cast<double>(before.finite());
  const auto b = static_cast<double>(next.finite());
  const double distance = next.mean - before.mean;
  return {.count = before.count + next.count,
          .zeros = before.zeros + next.zeros,
          .nan = before.nan + next.nan,
          .inf = before.inf + next.inf,
          .min = std::min(before.min, next.min),
          .max = std::max(before.max, next.max),
          .mean = before.mean + distance * (b / (a + b)),
          .squares = before.squares + next.squares +
                     distance * distance * (a * (b / (a + b)))};
}

}  // namespace kvtape::kernels
