// The replayed layer as tensors, for ReplayOptions::keep.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/quantized_rows.h"
#include "ops/row_state.h"

namespace kvtape {

struct KeptTensor {
  DType dtype = DType::kF32;
  std::vector<std::byte> bytes;   // codes, where it is quantized
  std::vector<std::byte> scales;  // empty where it is not
};

/// What rows leave behind, in row order.
struct KeptLayer {
  DType output_dtype = DType::kF32;
  std::vector<std::byte> outputs;  // [row, token, query_head, value_dim]
  KeptTensor key;                  // [row, slot, key_head, key_dim]
  KeptTensor value;
  std::vector<std::int32_t> index;  // [row]
  std::int64_t slots = 0;
};

KeptLayer kept_layer(const ReplayProblem& problem);

/// Outputs [token, query_head, value_dim] of a row, from `token` on.
void keep_outputs(const ReplayProblem& problem, std::int64_t row,
                  std::int64_t token, const std::vector<float>& outputs,
                  KeptLayer& kept);

/// A row after the last step.
void keep_row(const ReplayProblem& problem, RowState& state, KeptLayer& kept);

/// Rows after the last step, where they are quantized.
void keep_codes(const std::optional<QuantizedRows>& key,
                const std::optional<QuantizedRows>& value, KeptLayer& kept);

/// Puts the outputs into the trace of a tape and the rest into its final state.
void put_kept_layer(const ReplayProblem& problem, KeptLayer kept, Tape& tape);

}  // namespace kvtape
