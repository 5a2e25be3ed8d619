// Caches as another system holds them.
#include <catch2/catch.hpp>
#include <cmath>

#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "kvtape/systems.h"
#include "kvtape/transform.h"
#include "ops/tapes.h"

namespace kvtape {
namespace {

using Catch::Matchers::Contains;

// All slots filled, one pad in row 0, as sound_tape has it; no mask.
Tape full_tape() {
  test::TapeShape shape;
  shape.filled = shape.length;
  shape.steps = {1};
  Tape tape = without_trace(test::sound_tape(shape));
  tape.cache.attention_mask.reset();
  tape.cache.tokens.reset();
  tape.cache.rotary = {};
  tape.cache.rotary.style = RotaryStyle::kNone;
  return as_system(tape, System::kEasyDeL).tape;
}

Tape rotated_tape() {
  Tape tape = full_tape();
  tape.cache.rotary.style = RotaryStyle::kHalf;
  tape.cache.rotary.theta = 100;
  tape.cache.rotary.keys_rotated = true;
  return tape;
}

double at(const Tensor& tensor, std::size_t row, std::size_t slot,
          std::size_t head, std::size_t dim) {
  const auto size = [&](AxisKind kind) {
    return static_cast<std::size_t>(extent(tensor, kind));
  };
  return doubles(tensor)[((row * size(AxisKind::kPosition) + slot) *
                              size(AxisKind::kHead) +
                          head) *
                             size(AxisKind::kDim) +
                         dim];
}

TEST_CASE("there and back gives the same bits") {
  const Tape tape = full_tape();
  for (const System system : {System::kPenzai, System::kTransformerLens}) {
    Tape there = tape;
    if (system == System::kPenzai)  // has no place for starts
      for (auto& [number, layer] : there.cache.layers) layer.starts.reset();
    const Tape from = as_system(there, System::kEasyDeL).tape;
    const SystemConversion done = as_system(from, system);
    CHECK(done.lost.empty());
    CHECK(done.tape.source == name(system));
    const Tape back = as_system(done.tape, System::kEasyDeL).tape;
    CHECK(first_difference(back.cache, from.cache).value_or("") == "");
  }
}

TEST_CASE("pads become a mask, and starts again") {
  const Tape tape = full_tape();
  const Tape there = as_system(tape, System::kTransformerLens).tape;
  REQUIRE(there.cache.attention_mask);
  const auto starts = integers(*tape.cache.layers.at(0).starts);
  const auto bits = integers(*there.cache.attention_mask);
  const auto length = static_cast<std::int64_t>(bits.size()) / 2;
  for (std::int64_t i = 0; i < std::ssize(bits); ++i)
    CHECK(bits[static_cast<std::size_t>(i)] ==
          (i % length >= starts[static_cast<std::size_t>(i / length)] ? 1 : 0));
  CHECK(there.cache.layers.at(0).layout == Layout::kGrowing);
  CHECK(integers(*there.cache.layers.at(0).starts) ==
        std::vector<std::int64_t>{0, 0});
}

TEST_CASE("keys are rotated back at their slot less the pads") {
  const Tape tape = rotated_tape();
  const Tape there = as_system(tape, System::kTransformerLens).tape;
  CHECK(there.cache.rotary.keys_rotated == false);
  const Tensor& before = *tape.cache.layers.at(1).key;
  const Tensor& after = *there.cache.layers.at(1).key;
  const auto starts = integers(*tape.cache.layers.at(1).starts);
  for (std::size_t row = 0; row < 2; ++row)
    for (std::size_t slot = 0; slot < 8; ++slot)
      for (std::size_t i = 0; i < 3; ++i) {
        const double position = std::max(
            0.0, static_cast<double>(slot) - static_cast<double>(starts[row]));
        const double angle =
            position * std::pow(100.0, -static_cast<double>(2 * i) / 6);
        const double a = at(before, row, slot, 1, i);
        const double b = at(before, row, slot, 1, i + 3);
        CHECK(at(after, row, slot, 1, i) ==
              Approx(a * std::cos(angle) + b * std::sin(angle)).margin(1e-5));
        CHECK(at(after, row, slot, 1, i + 3) ==
              Approx(b * std::cos(angle) - a * std::sin(angle)).margin(1e-5));
      }
  CHECK_FALSE(first_difference(
      *tape.cache.layers.at(1).value,
      *as_system(there, System::kEasyDeL).tape.cache.layers.at(1).value));
  const Tape back = as_system(there, System::kEasyDeL).tape;
  CHECK(back.cache.rotary.keys_rotated == true);
  const auto x = doubles(before);
  const auto y = doubles(*back.cache.layers.at(1).key);
  for (std::size_t i = 0; i < x.size(); ++i)
    CHECK(y[i] == Approx(x[i]).margin(1e-5));
}

TEST_CASE("penzai's names and order, and several batch axes") {
  Tape tape = full_tape();
  for (auto& [number, layer] : tape.cache.layers) layer.starts.reset();
  tape = as_system(tape, System::kEasyDeL).tape;
  Tape penzai = as_system(tape, System::kPenzai).tape;
  const Tensor& key = *penzai.cache.layers.at(0).key;
  CHECK(key.axes[0].name == "batch");
  CHECK(key.axes[1].name == "head_groups");
  CHECK(key.axes[2].name == "projection");
  CHECK(key.axes[3].name == "seq");
  for (auto& [number, layer] : penzai.cache.layers)
    for (auto* tensor : {&*layer.key, &*layer.value}) {
      tensor->source = make_source(
          [&] {
            std::vector<std::byte> bytes(
                static_cast<std::size_t>(payload_bytes(*tensor)));
            Box box;
            for (const Axis& axis : tensor->axes) {
              box.first.push_back(0);
              box.count.push_back(axis.size);
            }
            tensor->source->read(box, bytes);
            return bytes;
          }(),
          {2, 1, tensor->axes[1].size, tensor->axes[2].size,
           tensor->axes[3].size},
          bytes_per_element(tensor->dtype));
      tensor->axes.insert(tensor->axes.begin() + 1,
                          {AxisKind::kBatch, "beam", 1});
    }
  const Tape back = as_system(penzai, System::kEasyDeL).tape;
  CHECK(first_difference(back.cache, tape.cache).value_or("") == "");
}

TEST_CASE("what a system has no place for is named, or left out") {
  const Tape tape = test::sound_tape();
  CHECK_THROWS_WITH(as_system(tape, System::kEasyDeL), Contains("/trace"));
  const SystemConversion done = as_system(tape, System::kTransformerLens, true);
  CHECK_FALSE(done.lost.empty());
  CHECK(done.lost.front() == "/trace: the trace");
  CHECK_FALSE(done.tape.trace);
  Tape unknown = full_tape();
  unknown.cache.rotary.style.reset();
  CHECK_THROWS_WITH(as_system(unknown, System::kTransformerLens),
                    Contains("not known"));
  Tape ring = full_tape();
  ring.cache.layers.at(0).layout = Layout::kRing;
  CHECK_THROWS_WITH(as_system(ring, System::kPenzai, true), Contains("ring"));
  Tape pads = full_tape();
  CHECK_THROWS_WITH(as_system(pads, System::kPenzai), Contains("starts"));
  Tape ragged = full_tape();
  for (auto& [number, layer] : ragged.cache.layers)
    layer.index = test::row_vector(2, 8);
  Tensor& index = *ragged.cache.layers.at(0).index;
  index = test::row_vector(2, 7);
  CHECK_THROWS_WITH(as_system(ragged, System::kEasyDeL),
                    Contains("/layers/1: index"));
}

}  // namespace
}  // namespace kvtape
