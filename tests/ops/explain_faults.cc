#include "explain_faults.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "systems/slab_copy.h"

namespace kvtape::tests {
namespace {

struct Place {
  std::int64_t layer, row, slot, head, dim;
};

// Every live element becomes get(place); the arrays are those of `from`.
template <typename Get>
void each_live(const World& from, Array World::*what, World& to, Get get) {
  const Array& array = from.*what;
  for (std::int64_t layer = 0; layer < array.layers; ++layer)
    for (std::int64_t row = 0; row < array.rows; ++row)
      for (std::int64_t slot = from.shape.starts[std::size_t(row)];
           slot < from.shape.index[std::size_t(row)]; ++slot)
        for (std::int64_t head = 0; head < array.heads; ++head)
          for (std::int64_t dim = 0; dim < array.dims; ++dim)
            (to.*what).at(layer, row, slot, head, dim) =
                get(array, Place{layer, row, slot, head, dim});
}

template <typename Get>
void both_kinds(World& world, Get get) {
  const World before = world;
  each_live(before, &World::key, world, get);
  each_live(before, &World::value, world, get);
  store(world);
}

double here(const Array& a, const Place& at) {
  return a.at(at.layer, at.row, at.slot, at.head, at.dim);
}

// The slot of the same row, or 0 where it is not live.
double from_slot(const World& world, const Array& a, const Place& at,
                 std::int64_t slot) {
  const auto row = static_cast<std::size_t>(at.row);
  if (slot < world.shape.starts[row] || slot >= world.shape.index[row])
    return 0;
  return a.at(at.layer, at.row, slot, at.head, at.dim);
}

std::int64_t live(const World& world, std::int64_t row) {
  const auto at = static_cast<std::size_t>(row);
  return world.shape.index[at] - world.shape.starts[at];
}

bool shift_all(World& expected, World& actual, Numbers& random) {
  const std::int64_t by = 1 + random.below(3);
  both_kinds(actual, [&](const Array& a, const Place& at) {
    return from_slot(expected, a, at, at.slot - by);
  });
  return true;
}

bool shift_layer(World& expected, World& actual, Numbers&) {
  both_kinds(actual, [&](const Array& a, const Place& at) {
    return at.layer == 1 ? from_slot(expected, a, at, at.slot + 1)
                         : here(a, at);
  });
  return true;
}

bool shift_row_keys(World& expected, World& actual, Numbers&) {
  const World before = actual;
  const std::int64_t last = expected.shape.rows - 1;
  each_live(before, &World::key, actual, [&](const Array& a, const Place& at) {
    return at.row == last ? from_slot(expected, a, at, at.slot - 2)
                          : here(a, at);
  });
  return true;
}

bool pads_to_right(World& expected, World& actual, Numbers&) {
  const World before = expected;
  for (std::int64_t row = 0; row < expected.shape.rows; ++row)
    expected.shape.starts[std::size_t(row)] = 2 + row;
  for (Array* array : {&expected.key, &expected.value})
    clear_dead(expected.shape, *array);
  actual = expected;
  both_kinds(actual, [&](const Array& a, const Place& at) {
    return from_slot(expected, a, at,
                     at.slot + expected.shape.starts[std::size_t(at.row)]);
  });
  return true;
}

bool pads_marked_right(World& expected, World& actual, Numbers& random) {
  pads_to_right(expected, actual, random);
  for (std::int64_t row = 0; row < expected.shape.rows; ++row) {
    const auto at = static_cast<std::size_t>(row);
    actual.shape.starts[at] = 0;
    actual.shape.index[at] -= expected.shape.starts[at];
  }
  World source = expected;
  source.shape = actual.shape;
  for (Array World::*what : {&World::key, &World::value})
    each_live(source, what, actual, [&](const Array& a, const Place& at) {
      return a.at(at.layer, at.row,
                  at.slot + expected.shape.starts[std::size_t(at.row)], at.head,
                  at.dim);
    });
  return true;
}

// All slots of all rows are live.
World filled(const World& world) {
  WorldShape shape = world.shape;
  shape.index.assign(shape.index.size(), shape.extent);
  shape.starts.assign(shape.starts.size(), 0);
  return make_world(shape, world.dtype, 77);
}

bool clamp(World& expected, World& actual, Numbers& random) {
  actual = expected = filled(expected);
  const std::int64_t by = 1 + random.below(3);
  const std::int64_t first = expected.shape.extent - 8;
  both_kinds(actual, [&](const Array& a, const Place& at) {
    if (at.slot < first) return here(a, at);
    if (at.slot + by < a.slots) return from_slot(expected, a, at, at.slot + by);
    return random.next();
  });
  return true;
}

bool ring(World& expected, World& actual, Numbers& random) {
  actual = expected = filled(expected);
  const std::int64_t by = 1 + random.below(expected.shape.extent - 1);
  both_kinds(actual, [&](const Array& a, const Place& at) {
    return from_slot(expected, a, at, (at.slot + by) % a.slots);
  });
  return true;
}

std::int64_t middle(const World& world, std::int64_t row) {
  return world.shape.starts[std::size_t(row)] + live(world, row) / 2;
}

bool stale(World& expected, World& actual, Numbers&) {
  both_kinds(actual, [&](const Array& a, const Place& at) {
    const std::int64_t first = middle(expected, at.row);
    const bool inside = at.slot >= first && at.slot < first + 3;
    return inside ? from_slot(expected, a, at, at.slot - 3) : here(a, at);
  });
  return true;
}

bool unwritten(World& expected, World& actual, Numbers&) {
  both_kinds(actual, [&](const Array& a, const Place& at) {
    const std::int64_t first = middle(expected, at.row);
    return at.slot >= first && at.slot < first + 3 ? 0.0 : here(a, at);
  });
  return true;
}

bool dead_head(World&, World& actual, Numbers&) {
  both_kinds(actual, [&](const Array& a, const Place& at) {
    return at.head == 1 && at.layer == 0 ? 0.0 : here(a, at);
  });
  return true;
}

bool swap_kinds(World& expected, World& actual, Numbers&) {
  if (expected.shape.key_dim != expected.shape.value_dim) return false;
  std::swap(actual.key, actual.value);
  return true;
}

bool swap_heads(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return a.at(at.layer, at.row, at.slot, at.head < 2 ? 1 - at.head : at.head,
                at.dim);
  });
  return true;
}

bool next_heads(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return a.at(at.layer, at.row, at.slot, (at.head + 1) % a.heads, at.dim);
  });
  return true;
}

// Heads that were repeated for their queries, then tiled instead.
bool tile_heads(World& expected, World& actual, Numbers&) {
  const std::int64_t heads = expected.shape.heads;
  if (heads % 2 != 0 || heads < 4) return false;
  both_kinds(expected, [](const Array& a, const Place& at) {
    return a.at(at.layer, at.row, at.slot, at.head / 2, at.dim);
  });
  both_kinds(actual, [heads](const Array& a, const Place& at) {
    return a.at(at.layer, at.row, at.slot, at.head % (heads / 2), at.dim);
  });
  return true;
}

bool swap_layers(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return a.at(at.layer < 2 ? 1 - at.layer : at.layer, at.row, at.slot,
                at.head, at.dim);
  });
  return true;
}

bool next_layers(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return a.at((at.layer + 1) % a.layers, at.row, at.slot, at.head, at.dim);
  });
  return true;
}

bool swap_rows(World& expected, World& actual, Numbers&) {
  if (expected.shape.rows < 2) return false;
  expected.shape.starts.assign(expected.shape.starts.size(), 1);
  expected.shape.index.assign(expected.shape.index.size(),
                              expected.shape.extent - 1);
  World full = make_world(expected.shape, expected.dtype, 91);
  actual = expected = full;
  both_kinds(actual, [](const Array& a, const Place& at) {
    return a.at(at.layer, (at.row + 1) % a.rows, at.slot, at.head, at.dim);
  });
  return true;
}

bool scale_keys(World& expected, World& actual, Numbers&) {
  const double scale =
      1 / std::sqrt(static_cast<double>(expected.shape.key_dim));
  const World before = actual;
  each_live(before, &World::key, actual, [&](const Array& a, const Place& at) {
    return here(a, at) * scale;
  });
  store(actual);
  return true;
}

bool scale_heads(World&, World& actual, Numbers&) {
  const World before = actual;
  each_live(before, &World::value, actual, [](const Array& a, const Place& at) {
    return here(a, at) * (1.5 + 0.25 * static_cast<double>(at.head + at.layer));
  });
  store(actual);
  return true;
}

// 8-bit codes, one scale a vector; expected is what they stand for.
bool codes(World& expected, World& actual, Numbers&) {
  const auto most = [](const Array& a, const Place& at) {
    double result = 0;
    for (std::int64_t dim = 0; dim < a.dims; ++dim)
      result = std::max(
          result, std::abs(a.at(at.layer, at.row, at.slot, at.head, dim)));
    return result;
  };
  const World before = expected;
  both_kinds(expected, [&](const Array& a, const Place& at) {
    const double scale = most(a, at) / 127;
    return std::nearbyint(here(a, at) / scale) * scale;
  });
  for (Array World::*what : {&World::key, &World::value})
    each_live(before, what, actual, [&](const Array& a, const Place& at) {
      return std::nearbyint(here(a, at) / (most(a, at) / 127));
    });
  return true;
}

bool negate(World&, World& actual, Numbers&) {
  const World before = actual;
  each_live(before, &World::value, actual,
            [](const Array& a, const Place& at) { return -here(a, at); });
  return true;
}

bool negate_half(World&, World& actual, Numbers&) {
  const World before = actual;
  each_live(before, &World::key, actual, [](const Array& a, const Place& at) {
    return at.dim < a.dims / 2 ? -here(a, at) : here(a, at);
  });
  return true;
}

// Bits of a number by fields, sign and exponent and fraction, written out.
double field_value(std::uint32_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent =
      static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction =
      static_cast<double>(bits & ((1U << fraction_bits) - 1)) /
      static_cast<double>(1U << fraction_bits);
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  if (exponent == (1 << exponent_bits) - 1)
    return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  return sign * std::ldexp(1 + fraction, exponent - bias);
}

std::uint32_t bits16(DType dtype, double number) {
  std::byte bytes[8];
  store_number(number, dtype, bytes);
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes, 2);
  return bits;
}

bool bf16_as_f16(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return field_value(bits16(DType::kBF16, here(a, at)), 5);
  });
  return true;
}

bool f16_as_bf16(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    return field_value(bits16(DType::kF16, here(a, at)), 8);
  });
  return true;
}

bool pairs_to_halves(World&, World& actual, Numbers&) {
  const World before = actual;
  each_live(before, &World::key, actual, [](const Array& a, const Place& at) {
    const std::int64_t half = a.dims / 2;
    return a.at(at.layer, at.row, at.slot, at.head,
                at.dim % half * 2 + at.dim / half);
  });
  return true;
}

bool halves_to_pairs(World&, World& actual, Numbers&) {
  const World before = actual;
  each_live(before, &World::key, actual, [](const Array& a, const Place& at) {
    return a.at(at.layer, at.row, at.slot, at.head,
                at.dim % 2 * (a.dims / 2) + at.dim / 2);
  });
  return true;
}

bool transpose(World&, World& actual, Numbers&) {
  both_kinds(actual, [](const Array& a, const Place& at) {
    const std::int64_t flat = at.head * a.dims + at.dim;
    return a.at(at.layer, at.row, at.slot, flat % a.heads, flat / a.heads);
  });
  return true;
}

// Drops bits of the fraction towards zero.
double cut(double number, int fraction_bits) {
  if (number == 0) return 0;
  int exponent = 0;
  const double part = std::frexp(number, &exponent);
  const double steps = std::ldexp(part, fraction_bits + 1);
  return std::ldexp(std::trunc(steps), exponent - fraction_bits - 1);
}

// So small that it is more than rounding in the dtype of the cache.
bool cut_bits(World& expected, World& actual, Numbers&) {
  const int bits = expected.dtype == DType::kF32   ? 7
                   : expected.dtype == DType::kF16 ? 3
                                                   : 2;
  both_kinds(actual, [bits](const Array& a, const Place& at) {
    const double number = here(a, at);
    const double least = bits == 7 ? 0x1p-126 : bits == 3 ? 0x1p-6 : 0x1p-14;
    if (std::abs(number) < least) {
      const double unit = std::ldexp(least, -bits);
      return std::trunc(number / unit) * unit;
    }
    return cut(number, bits);
  });
  return true;
}

// Rotary faults begin with keys that were never rounded.
bool turn(World& actual, const Turning& turning) {
  actual.key = rotated(actual.shape, actual.plain, turning);
  clear_dead(actual.shape, actual.key);
  store(actual);
  return true;
}

Turning usual(const World& world) {
  return {.style = world.shape.style, .theta = world.shape.theta};
}

bool twice(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.times = 2;
  return turn(actual, turning);
}

bool never(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.times = 0;
  return turn(actual, turning);
}

bool backwards(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.times = -1;
  return turn(actual, turning);
}

bool other_theta(World&, World& actual, Numbers& random) {
  Turning turning = usual(actual);
  turning.theta = random.below(2) == 0           ? 1000
                  : actual.shape.theta == 500000 ? 10000
                                                 : 500000;
  return turn(actual, turning);
}

bool other_style(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.style = turning.style == RotaryStyle::kHalf
                      ? RotaryStyle::kInterleaved
                      : RotaryStyle::kHalf;
  return turn(actual, turning);
}

bool fewer_dims(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.dims = actual.shape.key_dim / 2;
  return turn(actual, turning);
}

bool later_angle(World&, World& actual, Numbers& random) {
  Turning turning = usual(actual);
  turning.shift = static_cast<double>(
      random.below(2) == 0 ? 1 + random.below(9) : -1 - random.below(9));
  return turn(actual, turning);
}

bool smaller_angles(World&, World& actual, Numbers&) {
  Turning turning = usual(actual);
  turning.times = 0.25;
  return turn(actual, turning);
}

// Rotary positions that count the pads of a row.
bool counted_pads(World& expected, World& actual, Numbers&) {
  if (expected.shape.starts ==
      std::vector<std::int64_t>(expected.shape.starts.size(), 0))
    return false;
  expected.shape.rotary_from_start = true;
  turn(expected, usual(expected));
  actual.shape.rotary_from_start = false;
  return turn(actual, usual(actual));
}

bool wrongly_applied(World& expected, World& actual, Numbers&) {
  expected.keys_rotated = actual.keys_rotated = false;
  Turning turning = usual(expected);
  turning.times = 0;
  return turn(expected, turning);
}

}  // namespace

const std::vector<Fault>& faults() {
  static const std::vector<Fault> all = {
      {"rotary-twice", "keys rotated twice", 1, twice},
      {"rotary-missing", "keys not rotated", 1, never},
      {"rotary-backwards", "keys rotated backwards", 1, backwards},
      {"rotary-theta", "another theta", 1, other_theta},
      {"rotary-style", "the other style", 1, other_style},
      {"rotary-dims", "half of the dims rotated", 1, fewer_dims},
      {"rotary-shift", "angles of other positions", 1, later_angle},
      {"rotary-shift", "angles that count pads", 1, counted_pads},
      {"rotary-scale", "angles a quarter as large", 1, smaller_angles},
      {"rotary-applied", "keys rotated that should not be", 1, wrongly_applied},
      {"position-shift", "all slots moved", 2, shift_all},
      {"position-shift", "slots of a layer moved", 2, shift_layer},
      {"position-shift", "keys of a row moved", 2, shift_row_keys},
      {"padding-side", "left padding made right", 2, pads_to_right},
      {"padding-side", "the same, and marked", 2, pads_marked_right},
      {"clamped-overflow", "a block clamped to the end", 2, clamp},
      {"ring-order", "a ring read as linear", 2, ring},
      {"stale-slots", "a block of older slots", 2, stale},
      {"unwritten-slots", "a block of zeros", 3, unwritten},
      {"unwritten-slots", "a head of zeros", 3, dead_head},
      {"key-value-swapped", "keys as values", 4, swap_kinds},
      {"heads-permuted", "two heads swapped", 5, swap_heads},
      {"heads-permuted", "heads off by one", 5, next_heads},
      {"heads-regrouped", "tiled for repeated heads", 5, tile_heads},
      {"layers-permuted", "two layers swapped", 6, swap_layers},
      {"layers-permuted", "layers off by one", 6, next_layers},
      {"rows-permuted", "rows off by one", 7, swap_rows},
      {"constant-factor", "keys times the softmax scale", 8, scale_keys},
      {"constant-factor", "a factor for each head", 8, scale_heads},
      {"quantization-scale", "codes for numbers", 8, codes},
      {"sign-flip", "negated values", 8, negate},
      {"sign-flip", "half of the dims negated", 8, negate_half},
      {"dtype-misread", "bf16 read as f16", 9, bf16_as_f16},
      {"dtype-misread", "f16 read as bf16", 9, f16_as_bf16},
      {"smaller-dtype", "cut to a smaller dtype", 9, cut_bits},
      {"dims-permuted", "pairs as halves", 10, pairs_to_halves},
      {"dims-permuted", "halves as pairs", 10, halves_to_pairs},
      {"head-dim-transposed", "dim before head", 11, transpose},
  };
  return all;
}

}  // namespace kvtape::tests
