// Tests on the numbers of two caches which known mistake makes one of them out
// of the other.
#pragma once

#include <cstdint>
#include <vector>

#include "kvtape/diff.h"
#include "kvtape/explanation.h"
#include "kvtape/selection.h"
#include "kvtape/tape.h"

namespace kvtape {

/// Keys or values of a layer that differ by more than rounding.
struct DifferingPart {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  /// Positions (of the expected cache) outside of which nothing differs so;
  /// empty: it may differ anywhere.
  std::vector<Interval> positions;
};

struct ExplainScope {
  /// What counts as rounding: |error| / |expected| of a token's vector of one
  /// head.
  double limit = 0;
  std::vector<DifferingPart> differing;
  bool dead = false;  // slots that hold no token count too
  DiffAlign align = DiffAlign::kPosition;
};

/// What a comparison found to differ by more than rounding.
ExplainScope explain_scope(const DiffReport& report,
                           const DiffOptions& options);

/// Reads some thousand slots of the differing parts. The same for any machine.
/// Requires that the differing parts have the same heads and dims in both
/// tapes and can be read. Throws Error where they cannot.
Explanation explain(const Tape& expected, const Tape& actual,
                    const ExplainScope& scope);

}  // namespace kvtape
