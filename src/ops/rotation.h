// Rotary embedding of keys and queries that were recorded before it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kvtape/attention.h"

namespace kvtape {

class Rotation {
 public:
  /// Requires dims even and not above the dimension of the vectors.
  explicit Rotation(const Rotary& rotary);

  /// Rotates vectors [position, head, dim] in place.
  void apply(std::span<const std::int64_t> positions, std::int64_t heads,
             std::int64_t dim, float* vectors) const;

 private:
  RotaryStyle style_;
  double factor_;                    // attention_factor
  std::vector<double> frequencies_;  // [dims/2], radians per position
};

}  // namespace kvtape
