// Which slots of a row are live.
#include <algorithm>
#include <cstring>

#include "kvtape/error.h"
#include "ops/validate_findings.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

template <typename T>
void append(const std::byte* data, std::int64_t stride, std::int64_t count,
            std::vector<std::int64_t>& out) {
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value,
                data + i * stride * static_cast<std::int64_t>(sizeof(T)),
                sizeof(T));
    out.push_back(static_cast<std::int64_t>(value));
  }
}

/// What decides over a row's slots.
struct Marks {
  std::int64_t starts = 0;
  std::optional<std::int64_t> index;
  std::vector<std::int64_t> slot_position;  // empty: by layout
  std::vector<std::int64_t> mask;           // empty: none
  bool mask_by_slot = true;                 // else by position
  std::vector<std::int64_t> tokens;         // penzai: pads are not attended to
  std::int64_t pad_token = 0;
};

// The position that a slot holds, or -1.
std::int64_t position_of(const Marks& marks, Layout layout, std::int64_t slot,
                         std::int64_t slots) {
  if (!marks.slot_position.empty())
    return marks.slot_position[static_cast<std::size_t>(slot)];
  const std::int64_t index = marks.index.value_or(slots);
  if (layout == Layout::kRing && index > slots) {
    const std::int64_t last = (index - 1) % slots;  // the newest one's slot
    return index - 1 - (last - slot + slots) % slots;
  }
  if (layout == Layout::kShift && index > slots) return index - slots + slot;
  return slot < index ? slot : -1;
}

bool is_masked(const Marks& marks, std::int64_t slot, std::int64_t position) {
  const auto at =
      static_cast<std::size_t>(marks.mask_by_slot ? slot : position);
  if (at < marks.mask.size() && marks.mask[at] == 0) return true;
  const auto token = static_cast<std::size_t>(slot);
  return token < marks.tokens.size() && marks.tokens[token] == marks.pad_token;
}

SlotClass class_of(const Marks& marks, std::int64_t slot,
                   std::int64_t position) {
  if (position < 0) return SlotClass::kDead;
  if (marks.index && position >= *marks.index) return SlotClass::kDead;
  if (is_masked(marks, slot, position)) return SlotClass::kMasked;
  return position < marks.starts ? SlotClass::kPad : SlotClass::kLive;
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

Marks marks_of(const Tape& tape, const LayerCache& layer,
               const RowMarks& numbers, std::int64_t row, std::int64_t slots,
               SlabReader& reader) {
  const Cache& cache = tape.cache;
  const auto at = static_cast<std::size_t>(row);
  Marks marks;
  if (numbers.starts) marks.starts = (*numbers.starts)[at];
  if (numbers.index) marks.index = (*numbers.index)[at];
  if (has_row(layer.slot_position, row) &&
      extent(*layer.slot_position, AxisKind::kPosition) == slots)
    marks.slot_position = row_integers(*layer.slot_position, row, reader);
  if (has_row(cache.attention_mask, row))
    marks.mask = row_integers(*cache.attention_mask, row, reader);
  marks.mask_by_slot = static_cast<std::int64_t>(marks.mask.size()) <= slots;
  // penzai v2 masks tokens that equal pad_id, at whatever place (seeds.md 5.2).
  if (tape.source == "penzai" && cache.metadata.pad_token_id &&
      has_row(cache.tokens, row)) {
    marks.tokens = row_integers(*cache.tokens, row, reader);
    marks.pad_token = *cache.metadata.pad_token_id;
  }
  return marks;
}

}  // namespace

RowMarks::RowMarks(const LayerCache& layer)
    : index(numbers_of(layer.index, extents_of(*either(layer)).batch)),
      starts(numbers_of(layer.starts, extents_of(*either(layer)).batch)) {}

std::vector<std::int64_t> row_integers(const Tensor& tensor, std::int64_t row,
                                       SlabReader& reader) {
  const std::int64_t count = extents_of(tensor).position;
  const SlabView view = reader.read(tensor, row, 0, count);
  std::vector<std::int64_t> result;
  result.reserve(static_cast<std::size_t>(count));
  const std::int64_t stride = view.strides[0];
  switch (tensor.dtype) {
    case DType::kI64:
    case DType::kU64:
      append<std::int64_t>(view.data, stride, count, result);
      break;
    case DType::kI32:
      append<std::int32_t>(view.data, stride, count, result);
      break;
    case DType::kU32:
      append<std::uint32_t>(view.data, stride, count, result);
      break;
    case DType::kI16:
      append<std::int16_t>(view.data, stride, count, result);
      break;
    case DType::kU16:
      append<std::uint16_t>(view.data, stride, count, result);
      break;
    case DType::kI8:
      append<std::int8_t>(view.data, stride, count, result);
      break;
    case DType::kU8:
    case DType::kBool:
      append<std::uint8_t>(view.data, stride, count, result);
      break;
    default:
      throw Error({.field = "dtype",
                   .expected = "integers",
                   .found = std::string(name(tensor.dtype))});
  }
  return result;
}

std::vector<SlotClass> classes_of(const Tape& tape, const LayerCache& layer,
                                  const RowMarks& numbers, std::int64_t row,
                                  std::int64_t slots, SlabReader& reader) {
  const Marks marks = marks_of(tape, layer, numbers, row, slots, reader);
  std::vector<SlotClass> classes(static_cast<std::size_t>(slots));
  for (std::int64_t slot = 0; slot < slots; ++slot)
    classes[static_cast<std::size_t>(slot)] = class_of(
        marks, slot, position_of(marks, layout_of(layer), slot, slots));
  return classes;
}

}  // namespace kvtape
