// What a replay knows of one layer before it computes anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

/// One traced layer with its specs resolved and its shapes checked. Borrows
/// from the tape.
struct ReplayProblem {
  std::int64_t number = 0;
  const Cache* whole = nullptr;
  const LayerCache* cache = nullptr;
  const Trace* trace = nullptr;
  const LayerTrace* layer = nullptr;
  const Tensor* mask = nullptr;  // recorded, for Visibility::kMask only
  Attention attention;
  Rotary rotary;
  Layout layout = Layout::kLinear;
  std::int64_t window = 0;
  bool frozen = false;
  bool in_cache = false;  // keys_in = "cache": nothing is written
  bool rotate_keys = false;
  bool rotate_queries = false;
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  std::int64_t extent = 0;  // slots before the first step
  std::int64_t key_heads = 0;
  std::int64_t value_heads = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  std::vector<std::int64_t> step_lengths;
  std::vector<std::int64_t> index;   // [row]
  std::vector<std::int64_t> starts;  // [row]
  std::vector<std::int64_t> first;   // [row]: position of the first token, for
                                     // keys in the cache
};

/// What is missing so that the layer cannot be replayed at all, as
/// "/trace/layers/3/query: missing", or nothing.
std::optional<std::string> missing_for_replay(const Tape& tape,
                                              std::int64_t number);

/// Requires that nothing is missing. Throws Error where shapes, numbers or
/// specs contradict each other.
ReplayProblem replay_problem(const Tape& tape, std::int64_t number);

/// The lengths of the steps. Throws Error unless they are recorded and sane.
std::vector<std::int64_t> replay_steps(const Trace& trace);

}  // namespace kvtape
