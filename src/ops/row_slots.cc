// Positions of slots, step by step.
#include "ops/row_slots.h"

#include <algorithm>
#include <numeric>

#include "ops/integer_rows.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

bool has(const std::vector<std::int64_t>& values, std::int64_t i) {
  return i >= 0 && i < static_cast<std::int64_t>(values.size());
}

// Positions of a row, small enough to be added and multiplied.
std::vector<std::int64_t> positions_row(const std::optional<Tensor>& tensor,
                                        std::int64_t row,
                                        const std::string& object) {
  auto values = integer_row(tensor, row);
  check_bounds(object, -kLargestPosition, kLargestPosition, values);
  return values;
}

// The last position below index that falls on a slot of a ring, or -1.
std::int64_t ring_position(std::int64_t slot, std::int64_t index,
                           std::int64_t extent) {
  if (index <= slot) return -1;
  return slot + (index - 1 - slot) / extent * extent;
}

std::int64_t initial_position(const ReplayProblem& p, std::int64_t slot,
                              std::int64_t index) {
  switch (p.layout) {
    case Layout::kLinear:
    case Layout::kGrowing:
      return slot;
    case Layout::kRing:
      return ring_position(slot, index, p.extent);
    case Layout::kShift: {
      const std::int64_t filled = std::min(index, p.extent);
      return slot < filled ? index - filled + slot : -1;
    }
  }
  return -1;
}

void set_positions(const ReplayProblem& p, std::int64_t row, RowSlots& slots) {
  slots.position =
      positions_row(p.cache->slot_position, row,
                    "/layers/" + std::to_string(p.number) + "/slot_position");
  slots.position.resize(at(p.extent));
  for (std::int64_t slot = 0; slot < p.extent; ++slot) {
    std::int64_t& position = slots.position[at(slot)];
    if (!p.cache->slot_position)
      position = initial_position(p, slot, slots.index);
    if (position != slot) slots.in_order = false;
  }
  // A slot that is not filled yet comes into order when it is; until then the
  // layout cannot be relied on.
  if (p.layout == Layout::kRing || p.layout == Layout::kShift)
    slots.in_order = false;
}

// A column of /attention_mask is a slot, or a position where it is longer than
// the cache.
void set_open(const ReplayProblem& p, const RowTables& tables,
              RowSlots& slots) {
  const auto& mask = tables.attention_mask;
  const bool by_position = static_cast<std::int64_t>(mask.size()) > p.extent;
  slots.open.assign(at(p.extent), 1);
  for (std::int64_t slot = 0; slot < p.extent; ++slot) {
    const std::int64_t column = by_position ? slots.position[at(slot)] : slot;
    if (has(mask, column) && mask[at(column)] == 0) slots.open[at(slot)] = 0;
  }
}

// Rotary positions count tokens that are not masked where a token mask was
// recorded (TransformerLens); otherwise they are positions.
std::int64_t next_rotary(const RowTables& tables, RowSlots& slots,
                         std::int64_t position, bool open) {
  if (tables.token_mask.empty()) return position;
  if (open) ++slots.unmasked;
  return std::max<std::int64_t>(slots.unmasked - 1, 0);
}

void number_slot(const ReplayProblem& p, const RowTables& tables,
                 std::int64_t row, RowSlots& slots, std::int64_t slot) {
  const std::int64_t position = slots.position[at(slot)];
  if (position < 0) return;
  const std::int64_t token = p.in_cache ? position - p.first[at(row)] : -1;
  const bool traced = token >= 0 && token < p.tokens;
  if (traced)
    slots.open[at(slot)] = open_token(tables, token, position) ? 1 : 0;
  std::int64_t& rotary = slots.rotary[at(slot)];
  if (p.layout == Layout::kGrowing || position < slots.index)
    rotary = next_rotary(tables, slots, position, slots.open[at(slot)] != 0);
  if (traced && has(tables.positions, token))
    rotary = tables.positions[at(token)];
}

void number_slots(const ReplayProblem& p, const RowTables& tables,
                  std::int64_t row, RowSlots& slots) {
  slots.rotary.resize(at(p.extent));
  for (std::int64_t slot = 0; slot < p.extent; ++slot)
    slots.rotary[at(slot)] =
        std::max<std::int64_t>(slots.position[at(slot)], 0);
  std::vector<std::int64_t> order(at(p.extent));
  std::iota(order.begin(), order.end(), 0);
  if (!slots.in_order)
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) {
                       return slots.position[at(a)] < slots.position[at(b)];
                     });
  for (std::int64_t slot : order) number_slot(p, tables, row, slots, slot);
  slots.masked = std::count(slots.open.begin(), slots.open.end(), 0);
}

void fill_slot(RowSlots& slots, std::int64_t slot, std::int64_t position,
               std::int64_t rotary, bool open) {
  if (slot == slots.count()) {
    slots.position.push_back(position);
    slots.rotary.push_back(rotary);
    slots.open.push_back(1);
  }
  slots.position[at(slot)] = position;
  slots.rotary[at(slot)] = rotary;
  slots.masked += (slots.open[at(slot)] != 0) - static_cast<int>(open);
  slots.open[at(slot)] = open ? 1 : 0;
}

}  // namespace

RowTables row_tables(const ReplayProblem& p, std::int64_t row) {
  return {
      .attention_mask = integer_row(p.whole->attention_mask, row),
      .token_mask = integer_row(p.trace->token_mask, row),
      .positions = positions_row(p.trace->positions, row, "/trace/positions")};
}

RowSlots row_slots(const ReplayProblem& p, const RowTables& tables,
                   std::int64_t row) {
  RowSlots slots;
  slots.index = p.index[at(row)];
  slots.starts = p.starts[at(row)];
  set_positions(p, row, slots);
  set_open(p, tables, slots);
  number_slots(p, tables, row, slots);
  return slots;
}

std::optional<std::int64_t> write_position(const ReplayProblem& p,
                                           const RowSlots& slots,
                                           std::int64_t count) {
  if (p.layout == Layout::kGrowing) return slots.count();
  if (p.layout != Layout::kLinear) return slots.index;
  if (count > p.extent) return std::nullopt;
  const std::int64_t wrapped =
      slots.index < 0 ? slots.index + p.extent : slots.index;
  return std::clamp<std::int64_t>(wrapped, 0, p.extent - count);
}

std::vector<Standing> take_tokens(const ReplayProblem& p,
                                  const RowTables& tables, RowSlots& slots,
                                  std::int64_t token, std::int64_t count,
                                  std::int64_t position) {
  std::vector<Standing> result;
  slots.index += count;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool open = open_token(tables, token + i, position + i);
    std::int64_t rotary = next_rotary(tables, slots, position + i, open);
    if (has(tables.positions, token + i))
      rotary = tables.positions[at(token + i)];
    result.push_back({.token = token + i,
                      .position = position + i,
                      .rotary = rotary,
                      .index = slots.index});
    const std::int64_t slot = slot_of(p, slots, position + i);
    if (slot >= 0) fill_slot(slots, slot, position + i, rotary, open);
  }
  return result;
}

std::vector<Standing> find_tokens(const ReplayProblem& p, RowSlots& slots,
                                  std::int64_t row, std::int64_t token,
                                  std::int64_t count) {
  const bool fixed =
      p.layout == Layout::kLinear || p.layout == Layout::kGrowing;
  std::vector<Standing> result;
  slots.index = p.first[at(row)] + token + count;
  for (std::int64_t t = token; t < token + count; ++t) {
    const std::int64_t number = p.first[at(row)] + t;
    Standing standing{
        .token = t, .position = number, .rotary = number, .index = slots.index};
    std::int64_t slot = fixed && number < slots.count() ? number : -1;
    if (!fixed) {
      const auto found =
          std::find(slots.position.begin(), slots.position.end(), number);
      if (found != slots.position.end()) slot = found - slots.position.begin();
    }
    if (slot >= 0) {
      standing.position = slots.position[at(slot)];
      standing.rotary = slots.rotary[at(slot)];
    }
    result.push_back(standing);
  }
  return result;
}

std::int64_t slot_of(const ReplayProblem& p, const RowSlots& slots,
                     std::int64_t position) {
  if (p.layout == Layout::kRing) return position % p.extent;
  if (p.layout != Layout::kShift) return position;
  // The newest stand last once the cache is full.
  return position - std::max<std::int64_t>(slots.index - p.extent, 0);
}

void shift_slots(RowSlots& slots, std::int64_t count) {
  const std::int64_t gone = std::min(count, slots.count());
  for (std::int64_t slot = 0; slot < gone; ++slot)
    slots.masked -= slots.open[at(slot)] == 0 ? 1 : 0;
  const auto rotate = [&](auto& values, auto empty) {
    values.erase(values.begin(), values.begin() + gone);
    values.resize(values.size() + at(gone), empty);
  };
  rotate(slots.position, std::int64_t{-1});
  rotate(slots.rotary, std::int64_t{0});
  rotate(slots.open, std::uint8_t{1});
}

bool open_token(const RowTables& tables, std::int64_t token,
                std::int64_t position) {
  if (has(tables.token_mask, token) && tables.token_mask[at(token)] == 0)
    return false;
  return !has(tables.attention_mask, position) ||
         tables.attention_mask[at(position)] != 0;
}

}  // namespace kvtape
