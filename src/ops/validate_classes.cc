// Which slots of a row are live.
#include <algorithm>

#include "ops/integer_rows.h"
#include "ops/validate_findings.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

// A mask is looked at for so many positions; no cache is longer.
constexpr std::int64_t kMostColumns = 1 << 23;

/// What decides over some slots of a row.
struct Marks {
  std::int64_t first = 0;  // slot
  std::int64_t slots = 0;  // of the whole row
  std::int64_t starts = 0;
  std::optional<std::int64_t> index;
  std::vector<std::int64_t> slot_position;  // from `first`; empty: by layout
  std::vector<std::int64_t> mask;           // empty: none
  bool mask_by_slot = true;                 // from `first`, else by position
  std::vector<std::int64_t> tokens;  // from `first`; penzai: pads are hidden
  std::int64_t pad_token = 0;
};

// The position that a slot holds, or -1.
std::int64_t position_of(const Marks& marks, Layout layout, std::int64_t slot) {
  if (!marks.slot_position.empty())
    return marks.slot_position[static_cast<std::size_t>(slot - marks.first)];
  const std::int64_t index = marks.index.value_or(marks.slots);
  if (layout == Layout::kRing && index > marks.slots) {
    const std::int64_t last = (index - 1) % marks.slots;  // the newest one's
    return index - 1 - (last - slot + marks.slots) % marks.slots;
  }
  if (layout == Layout::kShift && index > marks.slots)
    return index - marks.slots + slot;
  return slot < index ? slot : -1;
}

bool is_masked(const Marks& marks, std::int64_t slot, std::int64_t position) {
  const auto at = static_cast<std::size_t>(
      marks.mask_by_slot ? slot - marks.first : position);
  if (at < marks.mask.size() && marks.mask[at] == 0) return true;
  const auto token = static_cast<std::size_t>(slot - marks.first);
  return token < marks.tokens.size() && marks.tokens[token] == marks.pad_token;
}

SlotClass class_of(const Marks& marks, std::int64_t slot,
                   std::int64_t position) {
  if (position < 0) return SlotClass::kDead;
  if (marks.index && position >= *marks.index) return SlotClass::kDead;
  if (is_masked(marks, slot, position)) return SlotClass::kMasked;
  return position < marks.starts ? SlotClass::kPad : SlotClass::kLive;
}

// The entries of a range, as far as the tensor goes.
std::vector<std::int64_t> row_integers(const Tensor& tensor, SlotRange range) {
  const std::int64_t count =
      std::min(range.count, extents_of(tensor).position - range.first);
  if (count <= 0) return {};
  return integer_row(tensor, range.row, range.first, count);
}

std::optional<std::vector<std::int64_t>> numbers_of(
    const std::optional<Tensor>& tensor, std::int64_t rows) {
  if (!tensor || element_count(*tensor) != rows) return {};
  return small_integers(tensor);
}

bool has_row(const std::optional<Tensor>& tensor, std::int64_t row) {
  return tensor && !is_float(tensor->dtype) &&
         row < extent(*tensor, AxisKind::kBatch) &&
         has_axis(*tensor, AxisKind::kPosition);
}

// A column of the mask is a slot, or a position where there are more columns
// than slots.
void read_mask(const Tensor& mask, SlotRange range, Marks& marks) {
  marks.mask_by_slot = extent(mask, AxisKind::kPosition) <= marks.slots;
  if (!marks.mask_by_slot)
    range = {.row = range.row, .first = 0, .count = kMostColumns};
  marks.mask = row_integers(mask, range);
}

Marks marks_of(const Tape& tape, const LayerCache& layer,
               const RowMarks& numbers, SlotRange range) {
  const Cache& cache = tape.cache;
  const auto at = static_cast<std::size_t>(range.row);
  Marks marks{.first = range.first,
              .slots = extents_of(*either(layer)).position};
  if (numbers.starts) marks.starts = (*numbers.starts)[at];
  if (numbers.index) marks.index = (*numbers.index)[at];
  if (has_row(layer.slot_position, range.row) &&
      extent(*layer.slot_position, AxisKind::kPosition) == marks.slots)
    marks.slot_position = row_integers(*layer.slot_position, range);
  if (has_row(cache.attention_mask, range.row))
    read_mask(*cache.attention_mask, range, marks);
  // penzai v2 masks tokens that equal pad_id, at whatever place.
  if (tape.source == "penzai" && cache.metadata.pad_token_id &&
      has_row(cache.tokens, range.row)) {
    marks.tokens = row_integers(*cache.tokens, range);
    marks.pad_token = *cache.metadata.pad_token_id;
  }
  return marks;
}

}  // namespace

RowMarks::RowMarks(const LayerCache& layer)
    : index(numbers_of(layer.index, extents_of(*either(layer)).batch)),
      starts(numbers_of(layer.starts, extents_of(*either(layer)).batch)) {}

std::vector<SlotUse> uses_of(const Tape& tape, const LayerCache& layer,
                             const RowMarks& numbers, SlotRange range) {
  const Marks marks = marks_of(tape, layer, numbers, range);
  std::vector<SlotUse> uses;
  for (std::int64_t slot = range.first; slot < range.first + range.count;
       ++slot) {
    const std::int64_t position = position_of(marks, layout_of(layer), slot);
    uses.push_back(
        {.slot_class = class_of(marks, slot, position), .position = position});
  }
  return uses;
}

std::vector<SlotClass> classes_of(const Tape& tape, const LayerCache& layer,
                                  const RowMarks& numbers, SlotRange range) {
  std::vector<SlotClass> classes;
  for (const SlotUse& use : uses_of(tape, layer, numbers, range))
    classes.push_back(use.slot_class);
  return classes;
}

}  // namespace kvtape
