// What a replay in double precision reads of one layer, and where its slots
// stand before the first step.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape::reference {

using Integers = std::vector<std::int64_t>;
using Doubles = std::vector<double>;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// [row, position or token, head, dim]
struct Array {
  std::int64_t rows = 0, length = 0, heads = 0, dim = 0;
  Doubles data;
};

/// All heads of one position: [head, dim].
Doubles cut(const Array& array, std::int64_t row, std::int64_t position);

// One slot of one batch row.
struct Slot {
  Doubles key;                 // [key_head, key_dim]
  Doubles value;               // [value_head, value_dim]
  std::int64_t position = -1;  // -1 = empty
  std::int64_t rotary = 0;     // position for rotary embedding
  bool masked = false;         // by /attention_mask or token_mask
};

struct Row {
  std::vector<Slot> slots;
  std::int64_t index = 0;
  std::int64_t starts = 0;
  std::int64_t unmasked = 0;  // how many tokens so far
};

// A matrix of integers [row, column], or nothing.
struct Table {
  std::int64_t columns = 0;
  Integers data;
  bool has(std::int64_t column) const {
    return column >= 0 && column < columns;
  }
  std::int64_t get(std::int64_t row, std::int64_t column) const {
    return data[at(row * columns + column)];
  }
};

// What is read and does not change, of one layer.
struct Problem {
  const LayerCache* layer = nullptr;
  Attention attention;
  Rotary rotary;
  Layout layout = Layout::kLinear;
  std::int64_t window = 0;
  bool frozen = false;
  bool in_cache = false;  // keys_in = "cache"
  bool faithful = false;
  std::int64_t rows = 0, tokens = 0, extent = 0;
  std::int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
  Array query;
  std::optional<Array> new_key, new_value;
  Integers start;        // [row], for keys in the cache
  Table attention_mask;  // /attention_mask: [row, slot or position]
  Table token_mask;      // [row, token]
  Table positions;       // [row, token]
  Table visible;         // recorded: [row, token * slots]
  std::int64_t visible_slots = 0;
};

Problem problem_of(const Tape& tape, std::int64_t number, bool faithful);

/// The slots of every batch row before the first step.
std::vector<Row> rows_of(const Problem& p);

bool masked_token(const Problem& p, std::int64_t row, std::int64_t token,
                  std::int64_t position);

/// Of a slot that comes next in `row`: rotary positions count the tokens that
/// are not masked, from 0, where a token mask was recorded; otherwise they are
/// positions.
std::int64_t rotary_position(const Problem& p, Row& row, const Slot& slot);

}  // namespace kvtape::reference
