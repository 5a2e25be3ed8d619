// The numbers of one tensor, read once.
#pragma once

#include <functional>
#include <vector>

#include "core/thread_pool.h"
#include "kvtape/stats.h"
#include "ops/diff_tensors.h"

namespace kvtape {

/// Keys or values of a layer, as floats.
struct StatsTensor {
  const Tensor* tensor = nullptr;
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  Interval heads;
};

struct TensorStats {
  std::vector<StatsRow> rows;
  /// Root mean square of each channel [head, dim], of those that are finite.
  std::vector<double> channels;
  /// Whether a head has any number but 0: [head].
  std::vector<bool> head_seen;
};

/// Slots are those of the runs (their expected side). The result does not
/// depend on the number of threads.
TensorStats tensor_stats(const StatsTensor& tensor,
                         const std::vector<RowRuns>& rows, StatsBy by,
                         ThreadPool& pool,
                         const std::function<void(std::int64_t)>& advance);

}  // namespace kvtape
