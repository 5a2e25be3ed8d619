// Boxes in parts that are small enough to work on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

inline std::int64_t product(const std::vector<std::int64_t>& sizes) {
  std::int64_t result = 1;
  for (std::int64_t size : sizes) result *= size;
  return result;
}

/// Calls visit(part) with boxes of at most that many elements (one at least)
/// which together are the box, in C order. Requires a box that is not empty.
template <typename Visit>
void for_each_part(const Box& box, std::int64_t elements, const Visit& visit) {
  std::size_t cut = box.count.size();
  std::int64_t inner = 1;
  while (cut > 0 && inner * box.count[cut - 1] <= elements)
    inner *= box.count[--cut];
  if (cut == 0) return visit(box);
  --cut;
  const std::int64_t step = std::max<std::int64_t>(1, elements / inner);
  const std::int64_t end = box.first[cut] + box.count[cut];
  Box part = box;
  std::fill_n(part.count.begin(), cut, 1);
  for (;;) {
    for (std::int64_t at = box.first[cut]; at < end; at += step) {
      part.first[cut] = at;
      part.count[cut] = std::min(step, end - at);
      visit(part);
    }
    std::size_t axis = cut;
    for (; axis > 0; --axis) {
      std::int64_t& first = part.first[axis - 1];
      if (++first < box.first[axis - 1] + box.count[axis - 1]) break;
      first = box.first[axis - 1];
    }
    if (axis == 0) return;
  }
}

}  // namespace kvtape
