// A cache as another system holds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

enum class System : std::uint8_t { kEasyDeL, kPenzai, kTransformerLens };
std::string_view name(System system);  // "easydel", "penzai", ...
std::optional<System> system_from_name(std::string_view name);

struct SystemConversion {
  Tape tape;
  std::vector<std::string> lost;  // "/layers/0/index: one for each row"
};

/// The order and names of axes, index or length or end index, padding as starts
/// or mask, and keys with or without rotary embedding are those of the system.
/// Keys are rotated, or rotated back, in f32 and rounded once to their dtype.
/// What the system has no place for is an Error that names it, or with `lossy`
/// is left out and listed. Throws Error where slots are not in order, layers
/// disagree in index or starts, or it is not known how keys are rotated.
SystemConversion as_system(const Tape& tape, System system, bool lossy = false);

}  // namespace kvtape
