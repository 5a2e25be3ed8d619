// Elements of tensors as JSON numbers: the shortest decimal that reads back to
// the same value of their dtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kvtape/dtype.h"

namespace kvtape {

/// Appends little-endian elements with commas between them. Shortest text that
/// is rounded once to the nearest value of the dtype; -0 is -0.0; NaN and the
/// infinities are strings, whatever a NaN's payload; bool is true or false.
/// Requires whole elements.
void append_numbers(DType dtype, std::span<const std::byte> elements,
                    std::string& out);

/// The number of the first element from `first` on that is a NaN other than
/// the one that the text "NaN" gives: positive, quiet, without payload. The
/// number of elements where there is none.
std::size_t next_nan_payload(DType dtype, std::span<const std::byte> elements,
                             std::size_t first);

}  // namespace kvtape
