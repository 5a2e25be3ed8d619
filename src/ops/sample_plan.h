// What follows from the options of a sample before any number is made.
#pragma once

#include <cstdint>
#include <vector>

#include "kvtape/sample.h"

namespace kvtape {

struct SamplePlan {
  std::int64_t rows = 0;
  std::int64_t value_heads = 0;
  std::int64_t extent = 0;  // slots before the first step
  std::int64_t filled = 0;  // positions before it, padding included
  std::int64_t tokens = 0;
  std::vector<std::int64_t> lengths;  // [step] tokens
  std::vector<std::int64_t> pads;     // [row]
  std::int64_t padded = 0;            // positions that the padding ends at
  std::vector<std::int64_t> first;    // [row] position of the first token
  std::vector<std::int64_t> starts;   // [row]
  bool after = false;                 // the dump is of after the trace
  bool masks = false;                 // padding is told by masks
  bool blank = false;  // padding holds zeros, as no mask hides it

  /// Slots after `tokens` tokens of the trace.
  std::int64_t slots(const SampleOptions& options, std::int64_t done) const {
    return extent + (options.layout == Layout::kGrowing ? done : 0);
  }
  /// A padding position that a mask hides.
  bool masked(const SampleOptions& options, std::int64_t row,
              std::int64_t position) const;
};

/// Throws Error when the options contradict each other.
SamplePlan sample_plan(const SampleOptions& options);

/// Memory axes of a key or value tensor, the layer axis included if stacked.
std::vector<Axis> sample_axes(const SampleOptions& options,
                              const SamplePlan& plan, std::int64_t slots,
                              std::int64_t heads, std::int64_t dims);

}  // namespace kvtape
