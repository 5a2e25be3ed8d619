// Which known mistake explains the difference of two caches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

/// How well one hypothesis turns the expected cache into the actual one.
struct Evidence {
  /// Of the table in kvtape-diff(1): "position-shift", "heads-permuted", ...
  std::string cause;
  std::string detail;  // "keys and values of layer 3, by +2 positions"
  /// |actual - explained| / |actual| over what was looked at, as vectors: the
  /// median and the worst of the tokens.
  double median = 0;
  double worst = 0;
  /// Causes that give the same numbers here, this one too, by name.
  std::vector<std::string> same_as;
};

struct Explanation {
  /// Whether the first of `evidence` explains the difference: what it leaves is
  /// rounding, and no other hypothesis comes near.
  bool found = false;
  double limit = 0;                // what counts as rounding
  std::vector<Evidence> evidence;  // best first
};

}  // namespace kvtape
