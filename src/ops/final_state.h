// The replayed cache against the recorded final one, bit for bit.
#pragma once

#include <optional>
#include <vector>

#include "kvtape/replay.h"
#include "ops/row_state.h"

namespace kvtape {

/// One layer of the recorded final state while rows are compared with it.
struct FinalLayer {
  const LayerCache* recorded = nullptr;
  std::vector<std::int64_t> index;  // [row], where recorded
  std::optional<FinalComparison> key;
  std::optional<FinalComparison> value;
  std::optional<FinalComparison> index_comparison;
};

/// Nothing where the layer has no recorded final state. Throws Error when that
/// is no tensor of a cache.
std::optional<FinalLayer> final_layer(const Tape& tape,
                                      const ReplayProblem& problem);

/// Compares one row after the last step.
void compare_final_row(const ReplayProblem& problem, RowState& state,
                       FinalLayer& layer);

/// Adds what was compared to the report.
void add_final_layer(const FinalLayer& layer, ReplayReport& report);

}  // namespace kvtape
