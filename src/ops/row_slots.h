// Where the slots of one batch row stand, and where a step's tokens go.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ops/replay_problem.h"

namespace kvtape {

/// What one batch row of a trace says of its tokens; empty where nothing was
/// recorded.
struct RowTables {
  std::vector<std::int64_t> attention_mask;  // [slot or position]
  std::vector<std::int64_t> token_mask;      // [token]
  std::vector<std::int64_t> positions;       // [token], for rotary
};

/// The slots of a row, without their keys and values.
struct RowSlots {
  std::vector<std::int64_t> position;  // [slot]; -1 = empty
  std::vector<std::int64_t> rotary;    // [slot]: position for rotary
  std::vector<std::uint8_t> open;      // [slot]: 0 = masked out
  std::int64_t masked = 0;             // slots that are not open
  std::int64_t index = 0;
  std::int64_t starts = 0;
  std::int64_t unmasked = 0;  // tokens so far, for rotary
  bool in_order = true;       // the position of every slot is its number

  std::int64_t count() const {
    return static_cast<std::int64_t>(position.size());
  }
};

/// Where a token of a step stands.
struct Standing {
  std::int64_t token = 0;     // along the trace
  std::int64_t position = 0;  // causality and window count from here
  std::int64_t rotary = 0;
  std::int64_t index = 0;  // of the row after the token's step
};

RowTables row_tables(const ReplayProblem& problem, std::int64_t row);

/// Before the first step.
RowSlots row_slots(const ReplayProblem& problem, const RowTables& tables,
                   std::int64_t row);

/// The position of the first of `count` tokens that come next; on a linear
/// layout where dynamic_update_slice puts them. Nothing where
/// even that refuses: more tokens than slots.
std::optional<std::int64_t> write_position(const ReplayProblem& problem,
                                           const RowSlots& slots,
                                           std::int64_t count);

/// Takes `count` tokens at positions from `position` on: index grows, slots
/// become theirs. Rows that shift must have been shifted.
std::vector<Standing> take_tokens(const ReplayProblem& problem,
                                  const RowTables& tables, RowSlots& slots,
                                  std::int64_t token, std::int64_t count,
                                  std::int64_t position);

/// The same for keys that are in the cache: nothing but index changes.
std::vector<Standing> find_tokens(const ReplayProblem& problem, RowSlots& slots,
                                  std::int64_t row, std::int64_t token,
                                  std::int64_t count);

/// The slot of a position that is written. Requires that it is not shifted out.
std::int64_t slot_of(const ReplayProblem& problem, const RowSlots& slots,
                     std::int64_t position);

/// Drops the oldest slots and adds as many empty ones.
void shift_slots(RowSlots& slots, std::int64_t count);

/// False where /attention_mask or the token mask excludes a token.
bool open_token(const RowTables& tables, std::int64_t token,
                std::int64_t position);

}  // namespace kvtape
