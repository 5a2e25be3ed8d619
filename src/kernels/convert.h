// From one float format to another, and what rounding costs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace kvtape::kernels {

/// Rounds once to nearest, ties to even; too large becomes Inf. NaN keeps its
/// sign and upper payload and becomes quiet. Exact where `to` holds every
/// number of `from`. The same format gives the same bits.
void convert(const std::byte* data, Element from, std::int64_t count,
             Element to, std::byte* out);

/// Whether every number of `from` is one of `to`.
bool holds_all(Element from, Element to);

/// What convert() would do to some elements.
struct Rounding {
  std::int64_t changed = 0;      // numbers that become another number
  std::int64_t infinite = 0;     // of these: that become infinite
  std::int64_t zero = 0;         // of these: that become zero
  double largest = 0;            // |rounded - number|, both finite
  std::int64_t at = 0;           // the first element with it
  std::int64_t infinite_at = 0;  // the first that becomes infinite
};
Rounding rounding(const std::byte* data, Element from, std::int64_t count,
                  Element to);

}  // namespace kvtape::kernels
