// Which slots of a row hold something, and which of two rows are compared with
// each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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

/// Those of them at the positions of a selection.
std::vector<FilledSlot> filled_slots(const Tape& tape, const LayerCache& layer,
                                     std::int64_t row, bool dead,
                                     const std::optional<IndexRange>& position);

/// Why a tensor of keys or values cannot be read number by number; empty where
/// it can.
std::string unreadable(const Tensor& tensor);

/// What a quantized tensor stands for; others as they are.
Tensor as_floats(Tensor tensor);

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
