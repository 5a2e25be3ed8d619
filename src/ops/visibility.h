// Which slots each token of a step sees.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/attend.h"
#include "ops/row_slots.h"

namespace kvtape {

/// The visible slots of several tokens, with the masks that they point into.
struct Sight {
  std::vector<VisibleSlots> tokens;
  std::vector<std::uint8_t> masks;  // packed, where tokens have their own
};

/// Valid until `slots` changes.
Sight visible_slots(const ReplayProblem& problem, const RowSlots& slots,
                    std::int64_t row, std::span<const Standing> tokens);

/// Whether a token's result is the same with later tokens already in the
/// cache: it sees no slot at or above `index`, that of the row after its step,
/// and sees some slot. Requires a linear or growing row that is in order.
bool sees_only_past(const ReplayProblem& problem, const RowTables& tables,
                    std::int64_t starts, std::int64_t row, std::int64_t token,
                    std::int64_t position, std::int64_t index);

/// Whether a token sees no slot at all.
bool sees_nothing(const VisibleSlots& visible);

}  // namespace kvtape
