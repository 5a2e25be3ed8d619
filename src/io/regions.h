// Regions of arrays of the same rank: overlaps, and copies between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Calls `visit` with the number along each axis of every chunk that a box
/// touches, in C order. Requires a box that is not empty.
void for_each_chunk(
    const Box& box, std::span<const std::int64_t> chunk,
    const std::function<void(std::span<const std::int64_t>)>& visit);

/// Copies what a chunk and a box have in common. `data` is the whole chunk,
/// which begins at `origin`; `out` is the packed box.
void copy_overlap(const std::byte* data, std::span<const std::int64_t> origin,
                  std::span<const std::int64_t> chunk, const Box& box,
                  std::byte* out, int bytes_per_element);

/// Calls `visit` with boxes that together are the elements [first, first +
/// count) of an array in C order, in this order.
void for_each_run(std::span<const std::int64_t> sizes, std::int64_t first,
                  std::int64_t count,
                  const std::function<void(const Box&)>& visit);

}  // namespace kvtape
