// A whole replay in double precision by the rules of the format, as straight
// loops: the oracle of the tests. Shares no arithmetic with the library.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kvtape/replay.h"
#include "kvtape/tape.h"

namespace kvtape::reference {

/// One layer after the last step. Arrays are in C order.
struct Layer64 {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  std::int64_t query_heads = 0;
  std::int64_t value_dim = 0;
  std::vector<double> output;  // [row, token, query_head, value_dim]
  std::int64_t slots = 0;
  std::vector<double> key;             // [row, slot, key_head, key_dim]
  std::vector<double> value;           // [row, slot, value_head, value_dim]
  std::vector<std::int64_t> index;     // [row]
  std::vector<std::int64_t> position;  // [row, slot], -1 = empty
  std::string refused;  // why a step was not done; nothing else is then set
};

/// Every layer of the trace, by number. What the format leaves open is decided
/// so: an absent index is the extent of a growing cache and 0 elsewhere; an
/// absent start_index is index minus the tokens of the trace; a column of
/// /attention_mask is a slot, or a position where it has more columns than the
/// cache has slots; it also holds for a new token whose position it reaches.
std::map<std::int64_t, Layer64> replay64(
    const Tape& tape, ReplayOptions::Mode mode = ReplayOptions::Mode::kChecked);

}  // namespace kvtape::reference
