// Counts, extremes, mean and spread of many numbers: the same bits however they
// are cut into pieces, on any CPU.
//
// Numbers come in blocks of kSummaryBlock, in their order. A block's sum runs
// in kLanes lanes (lane = place in the block modulo kLanes) in f64, folded
// 8 -> 4 -> 2 -> 1; so do the squared distances from its mean. NaN and Inf add
// nothing. Blocks are put together by merged(), from the first to the last.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/kernels.h"

namespace kvtape::kernels {

inline constexpr std::int64_t kSummaryBlock = 1024;

struct Summary {
  std::int64_t count = 0;
  std::int64_t zeros = 0;  // -0 too
  std::int64_t nan = 0;
  std::int64_t inf = 0;
  // Of the finite numbers:
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  double sum = 0;
  double squares = 0;  // of the distances from the mean

  std::int64_t finite() const { return count - nan - inf; }
  double mean() const;  // requires finite() > 0
  double std() const;   // of the population; requires finite() > 0
  friend bool operator==(const Summary&, const Summary&) = default;
};

/// Of the numbers of both; `a` came first.
Summary merged(const Summary& a, const Summary& b);

class Summarizer {
 public:
  void add(const double* values, std::int64_t count);
  /// Floats, widened exactly; may be unaligned.
  void add(const std::byte* data, Element element, std::int64_t count);

  /// Of all that was added.
  Summary total() const;

 private:
  void end_block();

  Summary total_;  // of whole blocks
  std::array<double, kSummaryBlock> block_{};
  std::int64_t filled_ = 0;
};

}  // namespace kvtape::kernels
