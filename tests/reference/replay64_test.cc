// The reference itself: by hand where one can follow it, and by the recorded
// results of the real systems' code (testdata/goldens).
#include "reference/replay64.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "kvtape/io.h"
#include "reference/storage64.h"

using namespace kvtape;
using reference::replay64;

namespace {

template <typename T>
Tensor tensor_of(DType dtype, std::vector<Axis> axes,
                 const std::vector<T>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(T));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return make_tensor(dtype, std::move(axes), std::move(bytes));
}

Tensor ints(const std::vector<std::int32_t>& numbers) {
  return tensor_of(
      DType::kI32,
      {{AxisKind::kBatch, "batch", static_cast<std::int64_t>(numbers.size())}},
      numbers);
}

// [1, length, heads, dim]
Tensor numbers(AxisKind kind, std::int64_t heads, std::int64_t dim,
               const std::vector<float>& data) {
  const auto length = static_cast<std::int64_t>(data.size()) /
                      std::max<std::int64_t>(heads * dim, 1);
  return tensor_of(DType::kF32,
                   {{AxisKind::kBatch, "batch", 1},
                    {kind, "length", length},
                    {AxisKind::kHead, "head", heads},
                    {AxisKind::kDim, "dim", dim}},
                   data);
}

// One row, one head, dim 1: keys are 0, so all that is seen weighs the same.
Tape flat(Layout layout, std::vector<float> values, std::int32_t index,
          std::vector<float> new_values, std::vector<std::int32_t> lengths) {
  Tape tape;
  LayerCache& layer = tape.cache.layers[0];
  const std::vector<float> keys(values.size(), 0.0F);
  const std::vector<float> new_keys(new_values.size(), 0.0F);
  layer.key = numbers(AxisKind::kPosition, 1, 1, keys);
  layer.value = numbers(AxisKind::kPosition, 1, 1, values);
  layer.index = ints({index});
  layer.layout = layout;
  tape.trace.emplace();
  tape.trace->step_lengths = ints(lengths);
  LayerTrace& trace = tape.trace->layers[0];
  trace.query = trace.key = numbers(AxisKind::kToken, 1, 1, new_keys);
  trace.value = numbers(AxisKind::kToken, 1, 1, new_values);
  return tape;
}

}  // namespace

TEST_CASE("a ring overwrites its oldest slot") {
  // Positions 1 and 2 stand in slots 1 and 0; position 3 goes to slot 1.
  Tape tape = flat(Layout::kRing, {2, 1}, 3, {3}, {1});
  const auto layer = replay64(tape).at(0);
  CHECK(layer.output == std::vector<double>{2.5});
  CHECK(layer.value == std::vector<double>{2, 3});
  CHECK(layer.position == std::vector<std::int64_t>{2, 3});
  CHECK(layer.index == std::vector<std::int64_t>{4});
  tape.cache.layers[0].window = 1;
  CHECK(replay64(tape).at(0).output == std::vector<double>{3});
}

TEST_CASE("a shifting cache drops its oldest slots") {
  const auto layer =
      replay64(flat(Layout::kShift, {0, 1, 2, 0}, 3, {3, 4, 5}, {1, 2})).at(0);
  CHECK(layer.value == std::vector<double>{2, 3, 4, 5});
  CHECK(layer.output == std::vector<double>{1.5, 3, 3.5});
}

TEST_CASE("a growing cache grows, a frozen one keeps nothing") {
  Tape tape = flat(Layout::kGrowing, {1}, 1, {3, 5}, {1, 1});
  CHECK(replay64(tape).at(0).output == std::vector<double>{2, 3});
  CHECK(replay64(tape).at(0).slots == 3);
  tape.cache.layers[0].frozen = true;
  CHECK(replay64(tape).at(0).output == std::vector<double>{2, 3});
  CHECK(replay64(tape).at(0).slots == 1);
  CHECK(replay64(tape).at(0).index == std::vector<std::int64_t>{1});
}

TEST_CASE("a write beyond the end is refused, or clamped as the system does") {
  Tape tape = flat(Layout::kLinear, {1, 2}, 1, {3, 4}, {2});
  CHECK_FALSE(replay64(tape).at(0).refused.empty());
  const auto layer = replay64(tape, ReplayOptions::Mode::kFaithful).at(0);
  CHECK(layer.value == std::vector<double>{3, 4});
  CHECK(layer.index == std::vector<std::int64_t>{3});
  CHECK(layer.output == std::vector<double>{3, 3.5});
}

TEST_CASE("a row that sees nothing") {
  Tape tape = flat(Layout::kLinear, {2, 6}, 0, {4}, {1});
  tape.cache.layers[0].starts = ints({1});
  CHECK(replay64(tape).at(0).output == std::vector<double>{5});
  tape.cache.attention.masked_rows = MaskedRows::kZeros;
  CHECK(replay64(tape).at(0).output == std::vector<double>{0});
  tape.cache.attention.masked_rows = MaskedRows::kNaN;
  CHECK(std::isnan(replay64(tape).at(0).output.at(0)));
}

TEST_CASE("soft cap and head maps") {
  Tape tape;
  LayerCache& layer = tape.cache.layers[0];
  layer.key = numbers(AxisKind::kPosition, 2, 1, {1, 2, 0, 0});
  layer.value = numbers(AxisKind::kPosition, 2, 1, {1, 10, 0, 0});
  layer.index = ints({1});
  tape.cache.attention = {
      .query_heads = 4, .softmax_scale = 1.0, .logit_softcap = 2.0};
  tape.trace.emplace();
  tape.trace->step_lengths = ints({1});
  LayerTrace& trace = tape.trace->layers[0];
  trace.query = numbers(AxisKind::kToken, 4, 1, {1, 1, 1, 1});
  trace.key = numbers(AxisKind::kToken, 2, 1, {0, 0});
  trace.value = numbers(AxisKind::kToken, 2, 1, {0, 0});
  const auto weight = [](double score) {
    const double e = std::exp(2 * std::tanh(score / 2));
    return e / (e + 1);
  };
  const double a = weight(1);
  const double b = 10 * weight(2);
  const auto near = [](std::vector<double> expected, const Tape& played) {
    const auto actual = replay64(played).at(0).output;
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i)
      CHECK(actual[i] == Approx(expected[i]).epsilon(1e-14));
  };
  near({a, a, b, b}, tape);
  tape.cache.attention.head_map = HeadMap::kTile;
  near({a, b, a, b}, tape);
}

TEST_CASE("rotary embedding turns a score by the distance") {
  Tape tape;
  LayerCache& layer = tape.cache.layers[0];
  layer.key = numbers(AxisKind::kPosition, 1, 2, {1, 0, 0, 0, 0, 0, 0, 0});
  layer.value = numbers(AxisKind::kPosition, 1, 1, {1, 0, 0, 0});
  layer.index = ints({3});
  layer.starts = ints({0});
  tape.cache.attention = {.softmax_scale = 1.0};
  tape.cache.rotary = {.keys_rotated = false, .queries_rotated = false};
  tape.trace.emplace();
  tape.trace->step_lengths = ints({1});
  LayerTrace& trace = tape.trace->layers[0];
  trace.query = numbers(AxisKind::kToken, 1, 2, {1, 0});
  trace.key = numbers(AxisKind::kToken, 1, 2, {0, 0});
  trace.value = numbers(AxisKind::kToken, 1, 1, {0});
  // Key 0 stands at position 0, the query at 3; the other scores are 0.
  const double e = std::exp(std::cos(3.0));
  for (const RotaryStyle style :
       {RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
    tape.cache.rotary.style = style;
    CHECK(replay64(tape).at(0).output.at(0) == Approx(e / (e + 3)));
  }
}

TEST_CASE("storing rounds") {
  using reference::requantized;
  using reference::rounded;
  CHECK(rounded(1.0 + std::ldexp(1.0, -11), DType::kF16) == 1.0);
  CHECK(rounded(1.0 + std::ldexp(3.0, -11), DType::kF16) ==
        1.0 + std::ldexp(1.0, -9));
  CHECK(rounded(std::ldexp(1.5, -24), DType::kF16) == std::ldexp(1.0, -23));
  CHECK(std::isinf(rounded(65520.0, DType::kF16)));
  CHECK(rounded(65519.0, DType::kF16) == 65504.0);
  CHECK(rounded(1.0 + std::ldexp(1.0, -8), DType::kBF16) == 1.0);
  const auto int8 = requantized({1.0, 0.25, -1.0, 0.0},
                                Quantization::Scheme::kInt8, DType::kF32, 4);
  CHECK(int8[0] == Approx(1.0));
  CHECK(int8[1] == Approx(32.0 / 127));
  CHECK(int8[3] == 0.0);
  const auto nf4 = requantized({2.0, -2.0, 0.1, 0.0},
                               Quantization::Scheme::kNF4, DType::kF32, 4);
  CHECK(nf4[0] == 2.0);
  CHECK(nf4[1] == -2.0);
  CHECK(nf4[2] == Approx(2 * 0.07958029955625534));
  CHECK(nf4[3] == 0.0);
}

namespace {

// testdata/goldens: what the real systems' code gave, written by to_hdf5.py.
std::vector<std::filesystem::path> goldens() {
  const char* testdata = std::getenv("KVTAPE_TESTDATA");
  std::vector<std::filesystem::path> result;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(testdata) / "goldens"))
    if (entry.path().extension() == ".h5") result.push_back(entry.path());
  std::sort(result.begin(), result.end());
  return result;
}

// Absolute and relative. The systems computed in this dtype.
double tolerance(DType dtype) {
  if (dtype == DType::kF64) return 1e-9;
  return dtype == DType::kF32 ? 1e-6 : 0.12;
}

void check_final(const Tape& tape, std::int64_t number,
                 const reference::Layer64& layer) {
  if (!tape.final_state || !tape.final_state->layers.contains(number)) return;
  const LayerCache& last = tape.final_state->layers.at(number);
  if (last.key) CHECK(doubles(*last.key) == layer.key);
  if (last.value) CHECK(doubles(*last.value) == layer.value);
  if (last.index) CHECK(integers(*last.index) == layer.index);
}

}  // namespace

TEST_CASE("the real systems' results") {
  const auto files = goldens();
  REQUIRE(files.size() >= 29);
  for (const auto& path : files) {
    CAPTURE(path.filename().string());
    const Tape tape = read_tape(path.string());
    const bool faithful = path.stem().extension() == ".faithful";
    const auto layers =
        replay64(tape, faithful ? ReplayOptions::Mode::kFaithful
                                : ReplayOptions::Mode::kChecked);
    CHECK(layers.size() == tape.trace->layers.size());
    for (const auto& [number, layer] : layers) {
      CAPTURE(number);
      CHECK(replay64(tape).at(number).refused.empty() != faithful);
      const Tensor& recorded = tape.trace->layers.at(number).output.value();
      const auto expected = doubles(recorded);
      REQUIRE(layer.output.size() == expected.size());
      double worst = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        worst = std::max(worst, std::fabs(layer.output[i] - expected[i]) /
                                    (1 + std::fabs(expected[i])));
      CHECK(worst <= tolerance(recorded.dtype));
      check_final(tape, number, layer);
    }
  }
}
