// Computed outputs against recorded ones.
#pragma once

#include "core/slab.h"
#include "kvtape/replay.h"

namespace kvtape {

/// Outputs of one token, computed and recorded.
struct TokenOutputs {
  ReplayPoint where;              // step, token, position, layer, row
  const float* actual = nullptr;  // [query_head, value_dim]
  SlabView expected;              // [1, query_head, value_dim]
};

/// Whether `a` comes before `b` by step, layer, row, token, head and dim.
bool earlier(const ReplayPoint& a, const ReplayPoint& b);

/// Whether `a` is further off than `b`, or as far and earlier. NaN is furthest.
bool worse(const ReplayPoint& a, const ReplayPoint& b);

/// Adds one token to the report: to its totals, to by_step[step_row] and to
/// by_layer[layer_row].
void compare_token(const TokenOutputs& outputs, std::size_t step_row,
                   std::size_t layer_row, ReplayReport& report);

}  // namespace kvtape
