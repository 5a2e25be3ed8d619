// Indexing as Python's lists do it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvtape/error.h"

namespace kvtape {

/// Throws Error with Python's text beyond the ends; -1 is the last.
inline std::size_t list_index(std::int64_t index, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  if (index < -count || index >= count)
    throw Error({.text = "list index out of range"});
  return static_cast<std::size_t>(index < 0 ? index + count : index);
}

}  // namespace kvtape
