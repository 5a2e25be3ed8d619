// Caches as plain arrays of f64.
#pragma once

#include <cstdint>
#include <vector>

#include "kvtape/tape.h"
#include "random_tape.h"

namespace kvtape::tests {

struct WorldShape {
  std::int64_t layers = 2;
  std::int64_t rows = 1;
  std::int64_t heads = 2;
  std::int64_t key_dim = 8;
  std::int64_t value_dim = 8;
  std::int64_t extent = 16;
  std::vector<std::int64_t> index = {12};  // [row]
  std::vector<std::int64_t> starts = {0};  // [row]
  RotaryStyle style = RotaryStyle::kHalf;
  double theta = 10000;
  /// Added to the first dims: vectors of real caches have much in common.
  double bias = 0;
  /// Rotary positions count from the first live slot.
  bool rotary_from_start = false;
};

/// [layer, row, slot, head, dim]
struct Array {
  std::int64_t layers = 0;
  std::int64_t rows = 0;
  std::int64_t slots = 0;
  std::int64_t heads = 0;
  std::int64_t dims = 0;
  std::vector<double> numbers;

  double& at(std::int64_t layer, std::int64_t row, std::int64_t slot,
             std::int64_t head, std::int64_t dim) {
    return numbers[index(layer, row, slot, head, dim)];
  }
  double at(std::int64_t layer, std::int64_t row, std::int64_t slot,
            std::int64_t head, std::int64_t dim) const {
    return numbers[index(layer, row, slot, head, dim)];
  }

 private:
  std::size_t index(std::int64_t layer, std::int64_t row, std::int64_t slot,
                    std::int64_t head, std::int64_t dim) const {
    return static_cast<std::size_t>(
        (((layer * rows + row) * slots + slot) * heads + head) * dims + dim);
  }
};

/// A cache whose numbers are those that its dtype stores.
struct World {
  WorldShape shape;
  DType dtype = DType::kF32;
  Array plain;  // keys before rotary embedding
  Array key;
  Array value;
  bool keys_rotated = true;
};

World make_world(const WorldShape& shape, DType dtype, std::uint64_t seed);
Tape tape_of(const World& world);

/// Rounds to the dtype.
void store(World& world);

/// How keys are rotated: by the slot's angle so many times, and that of `shift`
/// slots more.
struct Turning {
  RotaryStyle style;
  double theta;
  double times = 1;
  double shift = 0;
  std::int64_t dims = 0;  // 0: all
};

Array rotated(const WorldShape& shape, const Array& plain,
              const Turning& turning);

/// Slots that are not live become zeros.
void clear_dead(const WorldShape& shape, Array& array);

}  // namespace kvtape::tests
