// Writes past the end of a cache.
#pragma once

#include <cstdint>
#include <optional>

#include "kvtape/replay.h"
#include "ops/replay_problem.h"

namespace kvtape {

struct RefusedWrite {
  std::int64_t step = 0;  // the first that is not replayed
  Finding finding;
};

/// The first write that a replay in this mode does not do: in checked mode one
/// that dynamic_update_slice would move, in both one of more
/// tokens than the cache has slots.
std::optional<RefusedWrite> refused_write(const ReplayProblem& problem,
                                          ReplayOptions::Mode mode);

}  // namespace kvtape
