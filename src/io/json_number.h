// One element of a tensor as JSON spells it: man/kvtape-json.5.
#pragma once

#include <cstddef>
#include <string_view>

#include "kvtape/dtype.h"

namespace kvtape {

/// Writes the element that a word stands for, little-endian. Returns what was
/// expected instead where it stands for none; nothing where all is well.
std::string_view parse_element(DType dtype, std::string_view word,
                               std::byte* out);

}  // namespace kvtape
