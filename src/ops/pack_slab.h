// Slabs as packed [position, head, dim].
#pragma once

#include <cstddef>
#include <vector>

#include "core/slab.h"

namespace kvtape {

/// The elements of a slab in C order: in place where they lie so, else in
/// `buffer`, which grows as it needs to.
const std::byte* packed(const SlabView& view, std::vector<std::byte>& buffer);

}  // namespace kvtape
