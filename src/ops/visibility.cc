// Visibility by causality, by index range, and by recorded mask.
#include "ops/visibility.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/integer_rows.h"

namespace kvtape {
namespace {

// Positions that a token sees, before masks.
struct Positions {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

Positions positions_seen(const ReplayProblem& p, std::int64_t starts,
                         const Standing& token) {
  const std::int64_t first = std::max<std::int64_t>(starts, 0);
  if (p.attention.visibility == Visibility::kRange)
    return {.first = first, .last = token.index};
  if (p.window == 0) return {.first = first, .last = token.position + 1};
  return {.first = std::max(first, token.position - p.window + 1),
          .last = token.position + 1};
}

// Range visibility knows no masks but the range.
bool masks_count(const ReplayProblem& p) {
  return p.attention.visibility == Visibility::kCausal;
}

VisibleSlots slots_in_order(const ReplayProblem& p, const RowSlots& slots,
                            const Positions& seen) {
  const std::uint8_t* mask =
      masks_count(p) && slots.masked > 0 ? slots.open.data() : nullptr;
  return {.first = std::min(seen.first, slots.count()),
          .last = std::clamp<std::int64_t>(seen.last, 0, slots.count()),
          .mask = mask};
}

void mask_slots(const ReplayProblem& p, const RowSlots& slots,
                const Positions& seen, std::uint8_t* mask) {
  const bool masked = masks_count(p);
  for (std::size_t slot = 0; slot < slots.position.size(); ++slot) {
    const std::int64_t position = slots.position[slot];
    mask[slot] = position >= seen.first && position < seen.last &&
                 (!masked || slots.open[slot] != 0);
  }
}

// Leaves out what is masked at both ends.
VisibleSlots trimmed(const std::uint8_t* mask, std::int64_t slots) {
  const void* first =
      slots == 0 ? nullptr
                 : std::memchr(mask, 1, static_cast<std::size_t>(slots));
  if (first == nullptr) return {};
  const void* last = memrchr(mask, 1, static_cast<std::size_t>(slots));
  return {.first = static_cast<const std::uint8_t*>(first) - mask,
          .last = static_cast<const std::uint8_t*>(last) - mask + 1,
          .mask = mask};
}

}  // namespace

Sight visible_slots(const ReplayProblem& p, const RowSlots& slots,
                    std::int64_t row, std::span<const Standing> tokens) {
  Sight sight;
  const bool recorded = p.mask != nullptr;
  const std::int64_t count = slots.count();
  const auto tokens_count = static_cast<std::int64_t>(tokens.size());
  if (recorded || !slots.in_order)
    sight.masks.resize(static_cast<std::size_t>(count * tokens_count));
  if (recorded && tokens_count > 0)
    read_mask(*p.mask, row, tokens.front().token, tokens_count, count,
              sight.masks.data());
  std::uint8_t* mask = sight.masks.data();
  for (const Standing& token : tokens) {
    const Positions seen = positions_seen(p, slots.starts, token);
    if (!recorded && slots.in_order) {
      sight.tokens.push_back(slots_in_order(p, slots, seen));
      continue;
    }
    if (!recorded) mask_slots(p, slots, seen, mask);
    sight.tokens.push_back(trimmed(mask, count));
    mask += count;
  }
  return sight;
}

bool sees_only_past(const ReplayProblem& p, const RowTables& tables,
                    std::int64_t starts, std::int64_t row, std::int64_t token,
                    std::int64_t position, std::int64_t index) {
  if (p.mask == nullptr) {
    const bool range = p.attention.visibility == Visibility::kRange;
    const std::int64_t newest = range ? index - 1 : position;
    return newest >= std::max<std::int64_t>(starts, 0) &&
           (range || open_token(tables, token, position));
  }
  const std::int64_t columns = extent(*p.mask, AxisKind::kPosition);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(columns));
  read_mask(*p.mask, row, token, 1, columns, mask.data());
  const VisibleSlots seen = trimmed(mask.data(), columns);
  return !sees_nothing(seen) && seen.last <= index;
}

bool sees_nothing(const VisibleSlots& visible) {
  if (visible.first >= visible.last) return true;
  if (visible.mask == nullptr) return false;
  return std::memchr(visible.mask + visible.first, 1,
                     static_cast<std::size_t>(visible.last - visible.first)) ==
         nullptr;
}

}  // namespace kvtape
