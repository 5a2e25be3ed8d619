// The name that somebody may have meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kvtape::cli {

/// Insertions, deletions, substitutions and swaps of neighbours between two
/// words.
int edit_distance(std::string_view first, std::string_view second);

/// "did you mean 'validate'?" of the nearest name within distance 3, the first
/// of several; empty where none is near.
std::string suggestion(std::string_view typed,
                       std::span<const std::string_view> names);

}  // namespace kvtape::cli
