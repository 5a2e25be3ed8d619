// However a cache is stored, however many threads look at it: the findings of
// its values are the same, and their counts are those of a plain recount.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "hidden_source.h"
#include "kvtape/validate.h"
#include "ops/tapes.h"

namespace kvtape {
namespace {

using test::axis;
using Order = std::vector<AxisKind>;

constexpr AxisKind kBatch = AxisKind::kBatch;
constexpr AxisKind kPosition = AxisKind::kPosition;
constexpr AxisKind kHead = AxisKind::kHead;
constexpr AxisKind kDim = AxisKind::kDim;

/// What was put into a cache, in C order of batch, position, head, dim.
struct Flawed {
  test::TapeShape shape;
  std::vector<float> key;
  std::vector<float> value;

  std::size_t slot_size() const {
    return static_cast<std::size_t>(shape.key_heads * shape.dim);
  }
};

/// A cache of one layer with flaws at random places.
Flawed flawed_cache(const test::TapeShape& shape, std::uint32_t seed) {
  Flawed result{.shape = shape};
  const auto count =
      static_cast<std::size_t>(shape.batch * shape.length) * result.slot_size();
  result.key = test::numbers(count, seed);
  result.value = test::numbers(count, seed + 1);
  std::mt19937 random(seed);
  const auto slots = static_cast<std::size_t>(shape.batch * shape.length);
  for (std::size_t flaw = 0; flaw < slots / 10 + 3; ++flaw) {
    result.key[random() % count] = std::nanf("");
    result.value[random() % count] = -HUGE_VALF;
    const std::size_t zero = random() % slots * result.slot_size();
    const std::size_t copy = random() % slots * result.slot_size();
    const std::size_t from = random() % slots * result.slot_size();
    for (std::size_t i = 0; i < result.slot_size(); ++i) {
      result.value[zero + i] = 0;
      result.key[copy + i] = result.key[from + i];
      result.value[copy + i] = result.value[from + i];
    }
  }
  return result;
}

/// The numbers in another order of axes in memory.
Tensor stored(const Flawed& flawed, const std::vector<float>& data,
              const Order& order, bool hidden) {
  const test::TapeShape& s = flawed.shape;
  const std::map<AxisKind, std::int64_t> sizes = {{kBatch, s.batch},
                                                  {kPosition, s.length},
                                                  {kHead, s.key_heads},
                                                  {kDim, s.dim}};
  std::vector<Axis> axes;
  for (const AxisKind kind : order) axes.push_back(axis(kind, sizes.at(kind)));
  std::vector<float> moved(data.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::map<AxisKind, std::int64_t> at;
    for (const AxisKind kind : {kDim, kHead, kPosition, kBatch}) {
      at[kind] = rest % sizes.at(kind);
      rest /= sizes.at(kind);
    }
    std::int64_t to = 0;
    for (const AxisKind kind : order) to = to * sizes.at(kind) + at[kind];
    moved[static_cast<std::size_t>(to)] = data[i];
  }
  Tensor tensor = test::float_tensor(axes, moved);
  if (hidden) tensor = tests::hidden(tensor);
  return tensor;
}

Tape tape_of(const Flawed& flawed, const Order& order, bool hidden) {
  test::TapeShape shape = flawed.shape;
  shape.layers = 1;
  Tape tape;
  tape.cache = test::sound_cache(shape);
  LayerCache& layer = tape.cache.layers[0];
  layer.key = stored(flawed, flawed.key, order, hidden);
  layer.value = stored(flawed, flawed.value, order, hidden);
  return tape;
}

const std::vector<Order> kOrders = {
    {kBatch, kPosition, kHead, kDim},   // EasyDeL, TransformerLens
    {kBatch, kHead, kPosition, kDim},   // transformers
    {kBatch, kDim, kHead, kPosition},   // penzai v1
    {kPosition, kBatch, kHead, kDim},   // llama.cpp keeps positions outermost
    {kHead, kDim, kPosition, kBatch}};  // nothing where one expects it

std::vector<Finding> findings_of(const Tape& tape, int threads) {
  return validate(tape, {.values = true, .threads = threads}).findings;
}

// The text that a rule found in an object, or nothing.
std::string found(const std::vector<Finding>& findings, std::string_view rule,
                  std::string_view object) {
  for (const Finding& finding : findings)
    if (finding.rule == rule && finding.object == object) return finding.found;
  return {};
}

struct Recount {
  std::int64_t live_nan = 0;
  std::int64_t dead_bad = 0;  // in keys, any slot that is not live
  std::int64_t unwritten = 0;
  std::int64_t repeated = 0;
};

Recount recount(const Flawed& flawed) {
  const test::TapeShape& s = flawed.shape;
  const std::size_t size = flawed.slot_size();
  const auto zero = [&](const std::vector<float>& data, std::size_t at) {
    for (std::size_t i = 0; i < size; ++i)
      if (data[at + i] != 0) return false;
    return true;
  };
  const auto same = [&](const std::vector<float>& data, std::size_t a,
                        std::size_t b) {
    return std::memcmp(&data[a], &data[b], size * sizeof(float)) == 0;
  };
  Recount result;
  for (std::int64_t row = 0; row < s.batch; ++row)
    for (std::int64_t slot = 0; slot < s.length; ++slot) {
      const auto at = static_cast<std::size_t>(row * s.length + slot) * size;
      const bool live = slot >= s.pads && slot < s.filled;
      for (std::size_t i = 0; i < size; ++i) {
        if (std::isfinite(flawed.key[at + i])) continue;
        ++(live ? result.live_nan : result.dead_bad);
      }
      if (!live) continue;
      if (zero(flawed.value, at)) {
        ++result.unwritten;
        continue;
      }
      for (std::int64_t before = s.pads; before < slot; ++before) {
        const auto other =
            static_cast<std::size_t>(row * s.length + before) * size;
        if (!same(flawed.key, at, other) || !same(flawed.value, at, other))
          continue;
        ++result.repeated;
        break;
      }
    }
  return result;
}

bool counts(const std::string& text, std::int64_t count) {
  if (count == 0) return text.empty();
  return text.starts_with(std::to_string(count) + " ");
}

TEST_CASE("counts are those of a plain recount, in every memory order") {
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    test::TapeShape shape;
    shape.length = 150 + seed * 40;
    shape.filled = shape.length - 20;
    shape.pads = 3;
    const Flawed flawed = flawed_cache(shape, seed);
    const Recount expected = recount(flawed);
    REQUIRE(expected.live_nan > 0);
    REQUIRE(expected.repeated > 0);
    const auto plain = findings_of(tape_of(flawed, kOrders[0], false), 1);
    CHECK(counts(found(plain, "E70", "/layers/0/key"), expected.live_nan));
    CHECK(counts(found(plain, "W50", "/layers/0/key"), expected.dead_bad));
    CHECK(counts(found(plain, "E72", "/layers/0/value"), expected.unwritten));
    CHECK(counts(found(plain, "E73", "/layers/0"), expected.repeated));
    for (const Order& order : kOrders)
      for (const bool hidden : {false, true})
        CHECK(findings_of(tape_of(flawed, order, hidden), 2) == plain);
  }
}

TEST_CASE("the number of threads changes nothing") {
  // Several ranges per row: positions are the fastest axis here.
  test::TapeShape shape;
  shape.length = 30000;
  shape.filled = 29000;
  shape.pads = 7;
  const Tape tape = tape_of(flawed_cache(shape, 5), kOrders[2], false);
  const auto one = findings_of(tape, 1);
  CHECK_FALSE(one.empty());
  CHECK(findings_of(tape, 2) == one);
  CHECK(findings_of(tape, 8) == one);
}

// A cache of one row with a NaN in one slot.
Tape with_nan(Layout layout, std::int64_t index, std::int64_t starts,
              std::int64_t slot) {
  test::TapeShape shape;
  shape.layers = 1;
  shape.batch = 1;
  shape.pads = 0;
  shape.filled = shape.length;
  Tape tape;
  tape.cache = test::sound_cache(shape);
  tape.cache.attention_mask.reset();
  LayerCache& layer = tape.cache.layers[0];
  layer.layout = layout;
  layer.index = test::row_vector(1, index);
  layer.starts = test::row_vector(1, starts);
  layer.key = test::edited<float>(*layer.key, [&](std::vector<float>& data) {
    data[test::place(0, slot, 0, 0)] = std::nanf("");
  });
  return tape;
}

bool is_live(const Tape& tape) {
  return !found(findings_of(tape, 1), "E70", "/layers/0/key").empty();
}

TEST_CASE("live slots follow the layout") {
  // 8 slots. A ring of index 11 holds positions 8, 9, 10, 3, 4, ... 7.
  CHECK(is_live(with_nan(Layout::kLinear, 5, 0, 4)));
  CHECK_FALSE(is_live(with_nan(Layout::kLinear, 5, 0, 5)));
  CHECK_FALSE(is_live(with_nan(Layout::kLinear, 5, 2, 1)));
  CHECK(is_live(with_nan(Layout::kRing, 11, 4, 2)));
  CHECK_FALSE(is_live(with_nan(Layout::kRing, 11, 4, 3)));
  CHECK(is_live(with_nan(Layout::kRing, 11, 4, 4)));
  CHECK_FALSE(is_live(with_nan(Layout::kRing, 3, 0, 3)));
  // A shifted one of index 11 holds 3, 4, ... 10.
  CHECK_FALSE(is_live(with_nan(Layout::kShift, 11, 4, 0)));
  CHECK(is_live(with_nan(Layout::kShift, 11, 4, 1)));
  CHECK(is_live(with_nan(Layout::kLinear, 12, 0, 7)));
}

TEST_CASE("slot_position decides where it is given") {
  Tape tape = with_nan(Layout::kLinear, 5, 0, 6);
  CHECK_FALSE(is_live(tape));
  tape.cache.layers[0].slot_position = test::int_tensor(
      {axis(kBatch, 1), axis(kPosition, 8)}, {-1, -1, -1, 0, 1, 2, 3, 4});
  CHECK(is_live(tape));
}

TEST_CASE("a mask hides slots, and so does a pad token of penzai") {
  Tape tape = with_nan(Layout::kLinear, 5, 0, 2);
  const auto row = [](const std::vector<std::int32_t>& numbers) {
    return test::int_tensor({axis(kBatch, 1), axis(kPosition, 8)}, numbers);
  };
  tape.cache.attention_mask = row({1, 1, 0, 1, 1, 1, 1, 1});
  CHECK_FALSE(is_live(tape));
  tape.cache.attention_mask.reset();
  tape.cache.tokens = row({7, 7, 0, 7, 7, 0, 0, 0});
  CHECK(is_live(tape));
  tape.source = "penzai";
  CHECK_FALSE(is_live(tape));
}

TEST_CASE("equal tokens repeat in the first layer of unrotated keys only") {
  test::TapeShape shape;
  Tape tape;
  tape.cache = test::sound_cache(shape);
  for (auto& [number, layer] : tape.cache.layers)
    for (Tensor* tensor : {&*layer.key, &*layer.value})
      *tensor = test::edited<float>(*tensor, [&](std::vector<float>& data) {
        std::copy_n(
            data.begin() + static_cast<std::ptrdiff_t>(test::place(0, 1, 0, 0)),
            12,
            data.begin() +
                static_cast<std::ptrdiff_t>(test::place(0, 3, 0, 0)));
      });
  const auto rotated = findings_of(tape, 1);
  REQUIRE(rotated.size() == 3);
  CHECK(rotated[0].rule == "E73");
  CHECK(rotated[0].found == "1 repeated, first row 0 position 3 as position 1");
  tape.cache.rotary.keys_rotated = false;
  tape.cache.rotary.queries_rotated = false;
  const auto unrotated = findings_of(tape, 1);
  REQUIRE(unrotated.size() == 2);
  CHECK(unrotated[0].object == "/layers/1");
}

TEST_CASE("progress ends at its total") {
  std::int64_t last = -1;
  const Tape tape = test::sound_tape();
  validate(tape, {.values = true,
                  .threads = 1,
                  .progress = [&](std::int64_t done, std::int64_t total) {
                    CHECK(done <= total);
                    CHECK(done > last);
                    last = done;
                    CHECK(total == 3 * 2 * 8);
                  }});
  CHECK(last == 3 * 2 * 8);
}

}  // namespace
}  // namespace kvtape
