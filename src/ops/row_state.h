// One batch row of a layer as a replay works on it: its slots with their keys
// and values.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ops/attend.h"
#include "ops/paged_rows.h"
#include "ops/rotation.h"
#include "ops/row_slots.h"

namespace kvtape {

struct RowState {
  std::int64_t row = 0;
  RowTables tables;
  RowSlots slots;
  PagedRows key;
  PagedRows value;
  /// What attention reads where keys are stored before rotary embedding.
  std::optional<PagedRows> rotated;
};

/// A row before the first step. Keys and values lie in the tape, or, for
/// quantized tensors, are left empty.
RowState row_state(const ReplayProblem& problem, std::int64_t row);

/// Stores the tokens of one step (with keys in the cache: finds them) and says
/// where they stand. Requires a step that write_position() does not refuse.
std::vector<Standing> do_step(const ReplayProblem& problem,
                              const Rotation* rotation, RowState& state,
                              std::int64_t token, std::int64_t count);

/// Rotates the stored keys of slots [first, last) again.
void refresh_rotated(const ReplayProblem& problem, const Rotation& rotation,
                     RowState& state, std::int64_t first, std::int64_t last);

/// The pages that attention reads. Those outside of slots [first, last) stay
/// empty.
std::vector<Page> pages_of(RowState& state, std::int64_t first,
                           std::int64_t last);

}  // namespace kvtape
