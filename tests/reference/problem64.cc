#include "reference/problem64.h"

#include <algorithm>

#include "reference/storage64.h"

namespace kvtape::reference {
namespace {

Array array_of(const Tensor& tensor) {
  return {.rows = extent(tensor, AxisKind::kBatch),
          .length = extent(tensor, AxisKind::kPosition) *
                    extent(tensor, AxisKind::kToken),
          .heads = extent(tensor, AxisKind::kHead),
          .dim = extent(tensor, AxisKind::kDim),
          .data = elements(tensor)};
}

Table table_of(const std::optional<Tensor>& tensor, std::int64_t rows) {
  if (!tensor || rows == 0) return {};
  Table table{.columns = 0, .data = integers(*tensor)};
  table.columns = static_cast<std::int64_t>(table.data.size()) / rows;
  return table;
}

std::int64_t position_of_slot(const Problem& p, std::int64_t slot,
                              std::int64_t index) {
  switch (p.layout) {
    case Layout::kLinear:
    case Layout::kGrowing:
      return slot;
    case Layout::kRing:  // the last position below index that falls here
      for (std::int64_t q = index - 1; q >= 0 && q >= index - p.extent; --q)
        if (q % p.extent == slot) return q;
      return -1;
    case Layout::kShift: {
      const std::int64_t filled = std::min(index, p.extent);
      return slot < filled ? index - filled + slot : -1;
    }
  }
  return -1;
}

bool masked_at_first(const Problem& p, std::int64_t row, std::int64_t slot,
                     std::int64_t position) {
  const bool by_position = p.attention_mask.columns > p.extent;
  const std::int64_t column = by_position ? position : slot;
  return column >= 0 && p.attention_mask.has(column) &&
         p.attention_mask.get(row, column) == 0;
}

void number_slots(const Problem& p, std::int64_t b, Row& row) {
  std::vector<Slot*> in_order;
  for (Slot& slot : row.slots)
    if (slot.position >= 0) in_order.push_back(&slot);
  std::sort(in_order.begin(), in_order.end(),
            [](auto* x, auto* y) { return x->position < y->position; });
  for (Slot* slot : in_order) {
    const std::int64_t token = slot->position - p.start[at(b)];
    const bool traced = p.in_cache && token >= 0 && token < p.tokens;
    if (traced) slot->masked = masked_token(p, b, token, slot->position);
    if (p.layout == Layout::kGrowing || slot->position < row.index)
      slot->rotary = rotary_position(p, row, *slot);
    if (traced && p.positions.has(token))
      slot->rotary = p.positions.get(b, token);
  }
}

Integers column_of(const std::optional<Tensor>& tensor, std::int64_t rows,
                   std::int64_t otherwise) {
  return tensor ? integers(*tensor) : Integers(at(rows), otherwise);
}

void set_trace(Problem& p, const Trace& trace, const LayerTrace& layer) {
  p.in_cache = trace.keys_in == Trace::KeysIn::kCache;
  p.query = array_of(*layer.query);
  p.tokens = p.query.length;
  if (layer.key) p.new_key = array_of(*layer.key);
  if (layer.value) p.new_value = array_of(*layer.value);
  const auto& start = layer.start_index ? layer.start_index : trace.start_index;
  p.start = column_of(p.layer->index, p.rows, p.extent);
  for (std::int64_t& index : p.start) index -= p.tokens;
  if (start) p.start = integers(*start);
  p.token_mask = table_of(trace.token_mask, p.rows);
  p.positions = table_of(trace.positions, p.rows);
  const auto& mask =
      layer.attention_mask ? layer.attention_mask : trace.attention_mask;
  p.visible = table_of(mask, p.rows);
  if (mask) p.visible_slots = extent(*mask, AxisKind::kPosition);
}

}  // namespace

Doubles cut(const Array& array, std::int64_t row, std::int64_t position) {
  const std::int64_t count = array.heads * array.dim;
  const auto first =
      array.data.begin() + (row * array.length + position) * count;
  return {first, first + count};
}

bool masked_token(const Problem& p, std::int64_t row, std::int64_t token,
                  std::int64_t position) {
  if (p.token_mask.has(token) && p.token_mask.get(row, token) == 0) return true;
  return p.attention_mask.has(position) &&
         p.attention_mask.get(row, position) == 0;
}

std::int64_t rotary_position(const Problem& p, Row& row, const Slot& slot) {
  if (p.token_mask.columns == 0) return slot.position;
  if (!slot.masked) ++row.unmasked;
  return std::max<std::int64_t>(row.unmasked - 1, 0);
}

std::vector<Row> rows_of(const Problem& p) {
  const Array key = array_of(*p.layer->key), value = array_of(*p.layer->value);
  const std::int64_t fill = p.layout == Layout::kGrowing ? p.extent : 0;
  const Integers index = column_of(p.layer->index, p.rows, fill);
  const Integers starts = column_of(p.layer->starts, p.rows, 0);
  const Table given = table_of(p.layer->slot_position, p.rows);
  std::vector<Row> rows(at(p.rows));
  for (std::int64_t b = 0; b < p.rows; ++b) {
    Row& row = rows[at(b)];
    row.index = index[at(b)];
    row.starts = starts[at(b)];
    for (std::int64_t s = 0; s < p.extent; ++s) {
      const std::int64_t position = given.columns > 0
                                        ? given.get(b, s)
                                        : position_of_slot(p, s, row.index);
      row.slots.push_back({.key = cut(key, b, s),
                           .value = cut(value, b, s),
                           .position = position,
                           .rotary = std::max<std::int64_t>(position, 0),
                           .masked = masked_at_first(p, b, s, position)});
    }
    number_slots(p, b, row);
  }
  return rows;
}

Problem problem_of(const Tape& tape, std::int64_t number, bool faithful) {
  const LayerCache& layer = tape.cache.layers.at(number);
  Problem p;
  p.layer = &layer;
  p.faithful = faithful;
  p.rows = extent(*layer.key, AxisKind::kBatch);
  p.extent = extent(*layer.key, AxisKind::kPosition);
  p.key_heads = extent(*layer.key, AxisKind::kHead);
  p.key_dim = extent(*layer.key, AxisKind::kDim);
  p.value_heads = extent(*layer.value, AxisKind::kHead);
  p.value_dim = extent(*layer.value, AxisKind::kDim);
  p.attention = resolved(merged(layer.attention, tape.cache.attention),
                         p.key_heads, p.key_dim);
  p.rotary = resolved(merged(layer.rotary, tape.cache.rotary), p.key_dim);
  p.layout = layer.layout.value_or(Layout::kLinear);
  p.window = layer.window.value_or(0);
  p.frozen = layer.frozen.value_or(false);
  p.attention_mask = table_of(tape.cache.attention_mask, p.rows);
  set_trace(p, *tape.trace, tape.trace->layers.at(number));
  return p;
}

}  // namespace kvtape::reference
