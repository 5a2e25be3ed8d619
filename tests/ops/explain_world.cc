#include "explain_world.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "systems/slab_copy.h"

namespace kvtape::tests {
namespace {

Array make_array(const WorldShape& shape, std::int64_t dims, Numbers& random) {
  Array array{.layers = shape.layers,
              .rows = shape.rows,
              .slots = shape.extent,
              .heads = shape.heads,
              .dims = dims};
  array.numbers.resize(static_cast<std::size_t>(
      shape.layers * shape.rows * shape.extent * shape.heads * dims));
  std::size_t i = 0;
  for (double& number : array.numbers) {
    number = random.next() + random.next() + random.next();
    // Real keys have channels that are larger than others.
    const std::size_t dim = i++ % static_cast<std::size_t>(dims);
    if (dim == 1) number *= 4;
    if (dim < 3) number += shape.bias;
  }
  return array;
}

// Written out for one vector, angles in f32 as models compute them.
void rotate(double* vector, std::int64_t dims, RotaryStyle style, double theta,
            double position) {
  for (std::int64_t i = 0; i < dims / 2; ++i) {
    const float frequency = static_cast<float>(
        1.0 / std::pow(theta, 2.0 * static_cast<double>(i) /
                                  static_cast<double>(dims)));
    const float angle = static_cast<float>(position) * frequency;
    const bool half = style == RotaryStyle::kHalf;
    double& a = vector[half ? i : 2 * i];
    double& b = vector[half ? i + dims / 2 : 2 * i + 1];
    const double c = std::cos(static_cast<double>(angle));
    const double s = std::sin(static_cast<double>(angle));
    const double x = a * c - b * s;
    b = b * c + a * s;
    a = x;
  }
}

double rounded(DType dtype, double number) {
  std::byte bytes[8];
  store_number(number, dtype, bytes);
  return load_number(dtype, bytes);
}

Tensor tensor_of(const Array& array, std::int64_t layer, DType dtype) {
  const auto count = static_cast<std::ptrdiff_t>(array.rows * array.slots *
                                                 array.heads * array.dims);
  const auto first = array.numbers.begin() + layer * count;
  return float_tensor(dtype,
                      {{AxisKind::kBatch, "batch", array.rows},
                       {AxisKind::kPosition, "position", array.slots},
                       {AxisKind::kHead, "head", array.heads},
                       {AxisKind::kDim, "dim", array.dims}},
                      std::vector<double>(first, first + count));
}

}  // namespace

Array rotated(const WorldShape& shape, const Array& plain,
              const Turning& turning) {
  Array result = plain;
  for (std::size_t i = 0; i < plain.numbers.size();
       i += static_cast<std::size_t>(plain.dims)) {
    const auto vector = static_cast<std::int64_t>(i) / plain.dims;
    const std::int64_t slot = vector / plain.heads % plain.slots;
    const std::int64_t row = vector / plain.heads / plain.slots % plain.rows;
    const std::int64_t first =
        shape.rotary_from_start ? shape.starts[std::size_t(row)] : 0;
    rotate(result.numbers.data() + i,
           turning.dims == 0 ? plain.dims : turning.dims, turning.style,
           turning.theta,
           static_cast<double>(slot - first) * turning.times + turning.shift);
  }
  return result;
}

// Live slots hold numbers, all others zeros.
void clear_dead(const WorldShape& shape, Array& array) {
  for (std::int64_t layer = 0; layer < array.layers; ++layer)
    for (std::int64_t row = 0; row < array.rows; ++row)
      for (std::int64_t slot = 0; slot < array.slots; ++slot)
        for (std::int64_t head = 0; head < array.heads; ++head)
          for (std::int64_t dim = 0; dim < array.dims; ++dim)
            if (slot < shape.starts[static_cast<std::size_t>(row)] ||
                slot >= shape.index[static_cast<std::size_t>(row)])
              array.at(layer, row, slot, head, dim) = 0;
}

void store(World& world) {
  for (Array* array : {&world.key, &world.value})
    for (double& number : array->numbers) number = rounded(world.dtype, number);
}

World make_world(const WorldShape& shape, DType dtype, std::uint64_t seed) {
  Numbers random(seed);
  World world{.shape = shape, .dtype = dtype};
  world.plain = make_array(shape, shape.key_dim, random);
  world.value = make_array(shape, shape.value_dim, random);
  world.key = rotated(shape, world.plain, {shape.style, shape.theta});
  clear_dead(shape, world.key);
  clear_dead(shape, world.value);
  store(world);
  return world;
}

Tape tape_of(const World& world) {
  Tape tape;
  const WorldShape& shape = world.shape;
  tape.cache.metadata = {.batch_size = shape.rows,
                         .sequence_length = shape.extent,
                         .num_hidden_layers = shape.layers,
                         .num_heads = shape.heads,
                         .key_dim = shape.key_dim,
                         .value_dim = shape.value_dim};
  tape.cache.rotary.style = shape.style;
  tape.cache.rotary.theta = shape.theta;
  tape.cache.rotary.keys_rotated = world.keys_rotated;
  for (std::int64_t number = 0; number < shape.layers; ++number) {
    LayerCache& layer = tape.cache.layers[number];
    layer.key = tensor_of(world.key, number, world.dtype);
    layer.value = tensor_of(world.value, number, world.dtype);
    layer.index =
        int_tensor({{AxisKind::kBatch, "batch", shape.rows}}, shape.index);
    layer.starts =
        int_tensor({{AxisKind::kBatch, "batch", shape.rows}}, shape.starts);
  }
  return tape;
}

}  // namespace kvtape::tests
