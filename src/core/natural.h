// Natural order of names: layers/2 before layers/10.
#pragma once

#include <string_view>

namespace kvtape {

/// Runs of digits compare as numbers, everything else byte by byte.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace kvtape
