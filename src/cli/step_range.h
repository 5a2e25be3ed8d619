// `--steps A:B`, half open as in Python.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kvtape/tape.h"

namespace kvtape::cli {

struct StepRange {
  std::int64_t first = 0;
  std::int64_t last = 0;  // exclusive
};

/// Steps [first, last) of `count`. "A:B", "A:", ":B", ":" or "A" alone;
/// negative numbers count from the end. Throws Error for another text, for a
/// step that does not exist, and for a range without a step.
StepRange parsed_steps(const std::string& text, std::int64_t count);

/// The same for the steps of a tape's trace.
StepRange step_range(const std::string& text, const Tape& tape);

}  // namespace kvtape::cli
