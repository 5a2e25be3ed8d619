// Boxes of packed arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvtape/tensor.h"

namespace kvtape {

/// Throws Error unless the box lies inside an array of these sizes and `bytes`
/// is what it takes.
void check_box(const Box& box, std::span<const std::int64_t> sizes,
               int bytes_per_element, std::size_t bytes);

/// Copies a box of a packed array (C order) to `out`, packed.
/// Requires check_box.
void copy_box(const std::byte* data, std::span<const std::int64_t> sizes,
              int bytes_per_element, const Box& box, std::span<std::byte> out);

}  // namespace kvtape
