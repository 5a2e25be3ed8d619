// What `validate --values` counts in the slots of a tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/validate_findings.h"
#include "ops/validate_values.h"

namespace kvtape {

/// How often something was seen, and where first.
struct Spot {
  std::int64_t count = 0;
  std::int64_t row = 0;
  std::int64_t at = 0;  // position, or head

  void add(std::int64_t of_row, std::int64_t of_at, std::int64_t times = 1) {
    if (times == 0) return;
    if (count == 0) {
      row = of_row;
      at = of_at;
    }
    count += times;
  }
  /// Adds what was seen after it.
  void add(const Spot& later) { add(later.row, later.at, later.count); }
};

/// Of a range of slots, of a row, of a whole key or value.
struct Tally {
  std::int64_t live = 0;  // slots
  Spot nan;               // elements of live slots
  Spot infinite;
  Spot not_finite;  // elements of other slots
  Spot unwritten;   // live slots that are all zero
  Spot stale;       // dead slots that hold data
  Spot pads;        // slots before starts that hold data
  Spot zero_heads;  // at: head
  /// Of one row: whether a head was other than zero in a live slot.
  std::vector<bool> head_seen;

  void add(const Tally& later);
};

/// Repeated live slots of a layer.
struct Repeats {
  Spot slots;  // the later ones
  std::int64_t original = 0;
};

/// Counts one slot. Returns its hash, 0 where it is not live or all zero.
std::uint64_t count_slot(const SlotScanner& scanner, std::int64_t in_range,
                         SlotClass slot_class, std::int64_t row,
                         std::int64_t position, Tally& tally);

/// Slots with the hash of an earlier one of the range.
Repeats find_repeats(const SlotRange& range,
                     const std::vector<std::uint64_t>& hashes);

}  // namespace kvtape
