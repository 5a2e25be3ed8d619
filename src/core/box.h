// Boxes of packed arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

/// Calls `visit` with the first element and the number of elements of every run
/// of a box that lies together in an array of these sizes, in C order.
/// Requires check_box, and a box that is not empty.
void for_each_row(std::span<const std::int64_t> sizes, const Box& box,
                  const std::function<void(std::int64_t, std::int64_t)>& visit);

/// The other way round: packed elements to a box of a packed array.
void paste_box(std::span<const std::byte> data, const Box& box,
               std::span<const std::int64_t> sizes, int bytes_per_element,
               std::byte* out);

}  // namespace kvtape
