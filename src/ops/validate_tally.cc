#include "ops/validate_tally.h"

#include <algorithm>
#include <bit>

namespace kvtape {
namespace {

// A head is looked at until it was once seen to hold something: after the
// first slots nothing is left to do.
void look_at_heads(const SlotScanner& scanner, std::int64_t in_range,
                   Tally& tally) {
  for (std::size_t head = 0; head < tally.head_seen.size(); ++head)
    if (!tally.head_seen[head])
      tally.head_seen[head] =
          !scanner.head_is_zero(in_range, static_cast<std::int64_t>(head));
}

std::uint64_t count_live(const SlotScanner& scanner, std::int64_t in_range,
                         const kernels::Scan& scan, std::int64_t row,
                         std::int64_t position, Tally& tally) {
  ++tally.live;
  tally.nan.add(row, position, scan.nan);
  tally.infinite.add(row, position, scan.inf);
  if (!scan.nonzero) {
    tally.unwritten.add(row, position);
    return 0;
  }
  look_at_heads(scanner, in_range, tally);
  return scan.hash == 0 ? 1 : scan.hash;
}

}  // namespace

void Tally::add(const Tally& later) {
  live += later.live;
  nan.add(later.nan);
  infinite.add(later.infinite);
  not_finite.add(later.not_finite);
  unwritten.add(later.unwritten);
  stale.add(later.stale);
  pads.add(later.pads);
  zero_heads.add(later.zero_heads);
  head_seen.resize(std::max(head_seen.size(), later.head_seen.size()));
  for (std::size_t head = 0; head < later.head_seen.size(); ++head)
    if (later.head_seen[head]) head_seen[head] = true;
}

std::uint64_t count_slot(const SlotScanner& scanner, std::int64_t in_range,
                         SlotClass slot_class, std::int64_t row,
                         std::int64_t position, Tally& tally) {
  const kernels::Scan scan = scanner.slot(in_range);
  if (slot_class == SlotClass::kLive)
    return count_live(scanner, in_range, scan, row, position, tally);
  const std::int64_t bad = scan.nan + scan.inf;
  tally.not_finite.add(row, position, bad);
  if (scan.nonzero && bad == 0 && slot_class == SlotClass::kDead)
    tally.stale.add(row, position);
  if (scan.nonzero && bad == 0 && slot_class == SlotClass::kPad)
    tally.pads.add(row, position);
  return 0;
}

Repeats find_repeats(const SlotRange& range,
                     const std::vector<std::uint64_t>& hashes) {
  // An open table of slots, at most half full; 0 is a free place.
  const std::uint64_t places = std::bit_ceil(2 * hashes.size() + 2);
  const int shift = 64 - std::countr_zero(places);
  std::vector<std::uint32_t> table(places, 0);
  Repeats repeats;
  for (std::size_t slot = 0; slot < hashes.size(); ++slot) {
    const std::uint64_t hash = hashes[slot];
    if (hash == 0) continue;
    std::uint64_t at = hash * 0x9e3779b97f4a7c15U >> shift;
    while (table[at] != 0 && hashes[table[at] - 1] != hash)
      at = (at + 1) & (places - 1);
    if (table[at] == 0) {
      table[at] = static_cast<std::uint32_t>(slot + 1);
      continue;
    }
    if (repeats.slots.count == 0)
      repeats.original = range.first + table[at] - 1;
    repeats.slots.add(range.row, range.first + static_cast<std::int64_t>(slot));
  }
  return repeats;
}

}  // namespace kvtape
