// The numbers of two tensors against each other.
#pragma once

#include <functional>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/difference.h"
#include "ops/diff_align.h"

namespace kvtape {

/// Two unquantized tensors with the same heads and dims; axes position or
/// token, in any memory order.
struct TensorPair {
  const Tensor* expected = nullptr;
  const Tensor* actual = nullptr;
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  Interval heads;  // that are compared
  /// |error| <= this times |expected| for the vectors of a token: rounding.
  double rounding_limit = 0;
};

struct RowRuns {
  std::int64_t row = 0;
  std::vector<SlotRun> runs;
};

struct TensorDiff {
  std::vector<DiffCell> cells;  // one per head
  std::vector<DiffBand> bands;
  std::optional<DiffPoint> first;  // out of tolerance
};

/// Compares what meets. The result does not depend on the number of threads.
/// `advance` is told how many slots are done since the last call.
TensorDiff diff_tensors(const TensorPair& pair,
                        const std::vector<RowRuns>& rows,
                        const kernels::Allowance& allowance, ThreadPool& pool,
                        const std::function<void(std::int64_t)>& advance);

}  // namespace kvtape
