// The replayed layer as tensors, for ReplayOptions::keep.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/row_state.h"

namespace kvtape {

/// What rows leave behind, in row order.
struct KeptLayer {
  DType output_dtype = DType::kF32;
  std::vector<std::byte> outputs;  // [row, token, query_head, value_dim]
  std::vector<std::byte> key;      // [row, slot, key_head, key_dim]
  std::vector<std::byte> value;
  std::vector<std::int32_t> index;  // [row]
  DType key_dtype = DType::kF32;
  DType value_dtype = DType::kF32;
  std::int64_t slots = 0;
};

KeptLayer kept_layer(const ReplayProblem& problem);

/// Outputs [token, query_head, value_dim] of a row, from `token` on.
void keep_outputs(const ReplayProblem& problem, std::int64_t row,
                  std::int64_t token, const std::vector<float>& outputs,
                  KeptLayer& kept);

/// A row after the last step.
void keep_row(const ReplayProblem& problem, RowState& state, KeptLayer& kept);

/// Puts the outputs into the trace of a tape and the rest into its final state.
void put_kept_layer(const ReplayProblem& problem, KeptLayer kept, Tape& tape);

}  // namespace kvtape
