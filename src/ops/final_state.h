// The replayed cache against the recorded final one, bit for bit.
#pragma once

#include <optional>
#include <vector>

#include "kvtape/replay.h"
#include "ops/quantized_rows.h"
#include "ops/row_state.h"

namespace kvtape {

/// One layer of the recorded final state while rows are compared with it.
struct FinalLayer {
  const LayerCache* recorded = nullptr;
  std::optional<FinalComparison> key;
  std::optional<FinalComparison> value;
  std::optional<FinalComparison> index;
  std::optional<FinalComparison> starts;
  std::optional<FinalComparison> slot_position;
};

/// Nothing where the layer has no recorded final state. Throws Error when that
/// is no tensor of a cache.
std::optional<FinalLayer> final_layer(const Tape& tape,
                                      const ReplayProblem& problem);

/// Compares one row after the last step.
void compare_final_row(const ReplayProblem& problem, RowState& state,
                       FinalLayer& layer);

/// Compares the codes and scales of rows from `first` on, where both sides are
/// quantized.
void compare_final_codes(std::int64_t first,
                         const std::optional<QuantizedRows>& key,
                         const std::optional<QuantizedRows>& value,
                         FinalLayer& layer);

/// Adds what was compared to the report.
void add_final_layer(const FinalLayer& layer, ReplayReport& report);

/// The recorded final attention mask against that of the cache with the masks
/// of the new tokens at its end. Nothing where none is recorded.
std::optional<FinalComparison> compare_final_mask(const Tape& tape);

}  // namespace kvtape
