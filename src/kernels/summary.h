// What a run of numbers looks like: counts, extremes, mean and spread.
#pragma once

#include <cstdint>
#include <span>

namespace kvtape::kernels {

/// Numbers that are added in one go; blocks are put together in order, so the
/// result depends on where they begin and on nothing else.
inline constexpr std::int64_t kSummaryBlock = 4096;

/// Extremes, mean and squares are of the finite numbers only.
struct Summary {
  std::int64_t count = 0;
  std::int64_t zeros = 0;  // -0 too
  std::int64_t nan = 0;
  std::int64_t inf = 0;
  double min = 0;
  double max = 0;
  double mean = 0;
  double squares = 0;  // of the distances from the mean

  std::int64_t finite() const { return count - nan - inf; }
  /// Of the numbers themselves, not an estimate from a sample of them.
  double standard_deviation() const;
};

/// Of at most kSummaryBlock numbers.
Summary summary_of(std::span<const double> block);

/// Of both, `next` being what follows (Chan, Golub, LeVeque 1979).
Summary merged(const Summary& before, const Summary& next);

}  // namespace kvtape::kernels
