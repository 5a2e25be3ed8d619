// Differences without a cause that has a name.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "explain_faults.h"

namespace kvtape::tests {
namespace {

using Change = double (*)(double number, Numbers& random);

template <typename Get>
void each(World& world, Get get) {
  for (Array* array : {&world.key, &world.value})
    for (double& number : array->numbers) number = get(number);
  store(world);
}

// Calls change(vector, dims) for each vector of a head, or some of them.
template <typename Edit>
void each_vector(World& world, Edit edit) {
  for (Array* array : {&world.key, &world.value})
    for (std::size_t i = 0; i < array->numbers.size();
         i += static_cast<std::size_t>(array->dims))
      edit(array->numbers.data() + i, array->dims);
  store(world);
}

// From just above rounding to as large as the numbers.
double strength(Numbers& random) {
  return std::exp2(-8 * (random.next() + 1) / 2);
}

void noise(World& world, Numbers& random) {
  const double size = strength(random);
  each(world, [&](double number) {
    return number == 0 ? 0 : number + size * random.next();
  });
}

void relative_noise(World& world, Numbers& random) {
  const double size = strength(random);
  each(world,
       [&](double number) { return number * (1 + size * random.next()); });
}

void other_cache(World& world, Numbers& random) {
  each(world, [&](double number) {
    return number == 0 ? 0 : random.next() + random.next() + random.next();
  });
}

void elements(World& world, Numbers& random) {
  const std::int64_t one_of = 2 + random.below(400);
  each(world, [&](double number) {
    return random.below(one_of) == 0 ? 3 * random.next() : number;
  });
}

void dropout(World& world, Numbers& random) {
  const std::int64_t one_of = 2 + random.below(30);
  each(world,
       [&](double number) { return random.below(one_of) == 0 ? 0.0 : number; });
}

void flips(World& world, Numbers& random) {
  const std::int64_t one_of = 2 + random.below(30);
  each(world, [&](double number) {
    return random.below(one_of) == 0 ? -number : number;
  });
}

void nans(World& world, Numbers& random) {
  const std::int64_t one_of = 2 + random.below(30);
  each(world, [&](double number) {
    return random.below(one_of) == 0 ? std::nan("") : number;
  });
}

void offset(World& world, Numbers& random) {
  const double by = 0.2 + strength(random);
  each(world, [&](double number) { return number == 0 ? 0 : number + by; });
}

void token_factors(World& world, Numbers& random) {
  each_vector(world, [&](double* vector, std::int64_t dims) {
    const double factor = 1.5 + random.next();
    for (std::int64_t dim = 0; dim < dims; ++dim) vector[dim] *= factor;
  });
}

void channel_factors(World& world, Numbers& random) {
  std::vector<double> factors;
  for (int i = 0; i < 128; ++i) factors.push_back(1.5 + random.next());
  each_vector(world, [&](double* vector, std::int64_t dims) {
    for (std::int64_t dim = 0; dim < dims; ++dim)
      vector[dim] *= factors[static_cast<std::size_t>(dim)];
  });
}

void shuffled_dims(World& world, Numbers& random) {
  std::vector<std::int64_t> from(128);
  std::iota(from.begin(), from.end(), 0);
  each_vector(world, [&](double* vector, std::int64_t dims) {
    if (from[0] == 0)
      for (std::int64_t dim = dims - 1; dim > 0; --dim)
        std::swap(from[std::size_t(dim)], from[std::size_t(random.below(dim))]);
    std::vector<double> before(vector, vector + dims);
    for (std::int64_t dim = 0; dim < dims; ++dim)
      vector[dim] =
          before[std::size_t(from[std::size_t(dim)]) % std::size_t(dims)];
  });
}

// Places of one row in another order, the same for all heads.
void shuffled_slots(World& world, Numbers& random) {
  for (Array* array : {&world.key, &world.value}) {
    const Array before = *array;
    for (std::int64_t row = 0; row < array->rows; ++row) {
      const std::int64_t first = world.shape.starts[std::size_t(row)];
      const std::int64_t last = world.shape.index[std::size_t(row)];
      std::vector<std::int64_t> from(std::size_t(last - first));
      std::iota(from.begin(), from.end(), first);
      for (std::size_t i = from.size() - 1; i > 0; --i)
        std::swap(from[i], from[std::size_t(random.below(std::int64_t(i)))]);
      for (std::int64_t layer = 0; layer < array->layers; ++layer)
        for (std::int64_t slot = first; slot < last; ++slot)
          for (std::int64_t head = 0; head < array->heads; ++head)
            for (std::int64_t dim = 0; dim < array->dims; ++dim)
              array->at(layer, row, slot, head, dim) = before.at(
                  layer, row, from[std::size_t(slot - first)], head, dim);
    }
  }
}

// Some vectors are means of themselves and a neighbour.
void blends(World& world, Numbers& random) {
  const std::int64_t one_of = 1 + random.below(20);
  double* before = nullptr;
  each_vector(world, [&](double* vector, std::int64_t dims) {
    if (before && random.below(one_of) == 0)
      for (std::int64_t dim = 0; dim < dims; ++dim)
        vector[dim] = (vector[dim] + before[dim]) / 2;
    before = vector;
    if (dims == 0) before = nullptr;
  });
}

// A block of slots holds something that is in neither cache.
void unknown_block(World& world, Numbers& random) {
  const std::int64_t first = 4 + random.below(4);
  const std::int64_t count = 1 + random.below(4);
  for (Array* array : {&world.key, &world.value})
    for (std::int64_t layer = 0; layer < array->layers; ++layer)
      for (std::int64_t row = 0; row < array->rows; ++row)
        for (std::int64_t slot = first; slot < first + count; ++slot)
          for (std::int64_t head = 0; head < array->heads; ++head)
            for (std::int64_t dim = 0; dim < array->dims; ++dim)
              array->at(layer, row, slot, head, dim) = 2 * random.next();
  store(world);
}

// Each vector turned by angles of its own.
void turned_at_random(World& world, Numbers& random) {
  each_vector(world, [&](double* vector, std::int64_t dims) {
    for (std::int64_t dim = 0; dim + 1 < dims; dim += 2) {
      const double angle = 3 * random.next();
      const double a = vector[dim];
      const double b = vector[dim + 1];
      vector[dim] = a * std::cos(angle) - b * std::sin(angle);
      vector[dim + 1] = b * std::cos(angle) + a * std::sin(angle);
    }
  });
}

// One vector of all is wrong.
void one_vector(World& world, Numbers& random) {
  const std::int64_t slot = world.shape.starts[0] + 3;
  const std::int64_t head = random.below(world.shape.heads);
  for (std::int64_t dim = 0; dim < world.key.dims; ++dim)
    world.key.at(0, 0, slot, head, dim) = 2 * random.next();
  store(world);
}

void one_element(World& world, Numbers& random) {
  const std::int64_t slot = world.shape.starts[0] + 3;
  world.value.at(0, 0, slot, random.below(world.shape.heads),
                 random.below(world.value.dims)) = 30 * random.next();
  store(world);
}

}  // namespace

const std::vector<Disturbance>& disturbances() {
  static const std::vector<Disturbance> all = {
      {"noise", noise},
      {"relative noise", relative_noise},
      {"another cache", other_cache},
      {"random elements", elements},
      {"elements set to zero", dropout},
      {"elements with another sign", flips},
      {"elements that are NaN", nans},
      {"a constant added", offset},
      {"a factor for each token", token_factors},
      {"a factor for each channel", channel_factors},
      {"dims shuffled", shuffled_dims},
      {"slots shuffled", shuffled_slots},
      {"vectors blended", blends},
      {"a block of unknown slots", unknown_block},
      {"vectors turned at random", turned_at_random},
      {"one vector", one_vector},
      {"one element", one_element},
  };
  return all;
}

}  // namespace kvtape::tests
