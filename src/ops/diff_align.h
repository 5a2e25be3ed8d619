// Which slots of two rows are compared with each other.
#pragma once

#include <cstdint>
#include <vector>

#include "kvtape/diff.h"
#include "ops/validate_values.h"

namespace kvtape {

/// A slot that holds something.
struct FilledSlot {
  std::int64_t position = 0;
  std::int64_t slot = 0;
  std::int64_t token = -1;  // its id, where tokens are recorded
};

/// The live slots of a row by their positions; with `dead` all slots, each as
/// the position of its number.
std::vector<FilledSlot> filled_slots(const Tape& tape, const LayerCache& layer,
                                     std::int64_t row, bool dead);

/// Slots that lie side by side in both caches.
struct SlotRun {
  std::int64_t expected = 0;  // the first slot there
  std::int64_t actual = 0;
  std::int64_t position = 0;  // of the first, in the expected cache
  std::int64_t count = 0;
};

struct Alignment {
  std::vector<SlotRun> runs;  // by position
  std::vector<FilledSlot> expected_only;
  std::vector<FilledSlot> actual_only;
};

Alignment align(const std::vector<FilledSlot>& expected,
                const std::vector<FilledSlot>& actual, DiffAlign how);

}  // namespace kvtape
