// The outcome of a replay in words, for its text and its picture.
#pragma once

#include <string>

#include "kvtape/replay.h"

namespace kvtape {

inline bool is_bad(const ReplayRow& row) { return row.out_of_tolerance > 0; }

/// A recorded tensor that could not be compared has a reason and no count.
inline bool is_uncompared(const FinalComparison& comparison) {
  return comparison.differing == 0 && !comparison.first.empty();
}

/// "all within tolerance" of a success, otherwise all that prevents it:
/// "3 steps out of tolerance, final state differs".
std::string replay_outcome(const ReplayReport& report);

}  // namespace kvtape
