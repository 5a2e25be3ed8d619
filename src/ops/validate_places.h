// Where in a tensor something holds.
#pragma once

#include <cstdint>

namespace kvtape {

/// Elements for which something holds, by their number in C order.
struct Places {
  std::int64_t count = 0;
  std::int64_t first = 0;

  void add(std::int64_t at) {
    if (count++ == 0) first = at;
  }
};

}  // namespace kvtape
