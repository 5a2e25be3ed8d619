// What a replay reports: places, sums, ranges of steps, final states.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/slab.h"
#include "kvtape/error.h"
#include "kvtape/replay.h"
#include "ops/growth.h"
#include "random_tape.h"

namespace kvtape {
namespace {

using tests::float_tensor;
using tests::int_tensor;
using tests::random_tape;
using tests::TapeShape;

// A tape whose recorded outputs and final state are those of a replay.
Tape recorded(const TapeShape& shape) {
  ReplayReport report = replay(random_tape(shape), {.keep = true});
  Tape tape = std::move(*report.replayed);
  REQUIRE(replay(tape).success());
  return tape;
}

// Sets one element of a packed tensor.
void set(Tensor& tensor, std::int64_t element, double value) {
  std::vector<double> values = doubles(tensor);
  values[static_cast<std::size_t>(element)] = value;
  tensor = float_tensor(tensor.dtype, tensor.axes, values);
}

// Element [row, token, head, dim] of an output of 2 rows and 5 tokens, 4 heads,
// 5 dims, as TapeShape has them.
std::int64_t place(std::int64_t row, std::int64_t token, std::int64_t head,
                   std::int64_t dim) {
  return ((row * 5 + token) * 4 + head) * 5 + dim;
}

TEST_CASE("what is recorded by a replay is replayed without any error") {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
    const Tape tape = recorded({.layers = 3, .dtype = dtype});
    const ReplayReport report = replay(tape);
    CHECK(report.success());
    CHECK(report.worst->abs_error == 0);
    CHECK(report.compared == 3 * 2 * 5 * 4 * 5);
    CHECK(report.steps == 3);
    CHECK(report.tokens == 5);
    CHECK(report.layers == 3);
    CHECK(report.rows == 2);
    CHECK(report.query_heads == 4);
    CHECK(report.by_step.size() == 3);
    CHECK(report.by_step[0].compared == 3 * 2 * 3 * 4 * 5);
    CHECK(report.by_step[0].position == 2);
    CHECK(report.by_step[2].position == 4);
    CHECK(report.by_layer[2].number == 2);
    CHECK(report.by_layer[2].compared == 2 * 5 * 4 * 5);
    CHECK(report.final_state.size() == 9);
    CHECK_FALSE(report.doubling_steps);
  }
}

TEST_CASE("a planted error of one head at one step is located exactly") {
  Tape tape = recorded({.layers = 3});
  Tensor& output = *tape.trace->layers.at(1).output;
  const double right =
      doubles(output)[static_cast<std::size_t>(place(1, 3, 2, 4))];
  set(output, place(1, 3, 2, 4), right + 0.25);
  const ReplayReport report = replay(tape);
  CHECK_FALSE(report.success());
  CHECK(report.out_of_tolerance == 1);
  for (const auto& found : {report.first, report.worst}) {
    REQUIRE(found);
    CHECK(found->step == 1);
    CHECK(found->token == 3);
    CHECK(found->position == 3);
    CHECK(found->layer == 1);
    CHECK(found->row == 1);
    CHECK(found->head == 2);
    CHECK(found->dim == 4);
    CHECK(found->actual == right);
    CHECK(found->expected ==
          static_cast<double>(static_cast<float>(right + 0.25)));
    CHECK(found->abs_error == Approx(0.25).epsilon(1e-6));
    CHECK(found->allowed == 1e-5 + 1.3e-6 * std::fabs(found->expected));
  }
  CHECK(report.by_step[0].out_of_tolerance == 0);
  CHECK(report.by_step[1].out_of_tolerance == 1);
  CHECK(report.by_layer[1].out_of_tolerance == 1);
  CHECK(report.errors[1][1] == report.worst->abs_error);
  CHECK(report.errors[0][1] == 0);
}

TEST_CASE("the first error is the earliest by step, then by layer") {
  Tape tape = recorded({.layers = 3});
  set(*tape.trace->layers.at(0).output, place(0, 4, 0, 0), 9);
  set(*tape.trace->layers.at(2).output, place(0, 1, 3, 3), 3);
  set(*tape.trace->layers.at(1).output, place(1, 1, 3, 3), 5);
  const ReplayReport report = replay(tape);
  CHECK(report.first->step == 0);
  CHECK(report.first->layer == 1);
  CHECK(report.first->row == 1);
  CHECK(report.worst->layer == 0);
  CHECK(report.worst->step == 2);
}

TEST_CASE("NaN on one side is the worst, on both sides no error") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tape tape = recorded({});
  Tensor& output = *tape.trace->layers.at(0).output;
  set(output, place(0, 0, 0, 0), 100);
  set(output, place(1, 2, 1, 1), nan);
  ReplayReport report = replay(tape);
  CHECK(report.out_of_tolerance == 2);
  CHECK(std::isnan(report.worst->abs_error));
  CHECK(report.worst->row == 1);
  CHECK(std::isnan(report.by_step[0].worst.abs_error));
  CHECK(std::isnan(report.errors[0][0]));
  CHECK(report.first->row == 0);
  // A NaN in a value makes the outputs of its head NaN: equal to recorded ones.
  tape = random_tape({});
  set(*tape.trace->layers.at(0).value, 0, nan);
  Tape again = *replay(tape, {.keep = true}).replayed;
  CHECK(std::isnan(doubles(*again.trace->layers.at(0).output)[0]));
  report = replay(again);
  CHECK(report.success());
  CHECK(report.worst->abs_error == 0);
}

TEST_CASE("an infinity is near nothing but itself") {
  Tape tape = recorded({});
  set(*tape.trace->layers.at(0).output, 0, HUGE_VAL);
  const ReplayReport report = replay(tape, {.rtol = 1, .atol = 1});
  CHECK(report.out_of_tolerance == 1);
  CHECK(std::isinf(report.worst->abs_error));
}

TEST_CASE("tolerances: by dtype, or as given") {
  CHECK(default_tolerance(DType::kF16).rtol == 1e-3);
  CHECK(default_tolerance(DType::kBF16).rtol == 1.6e-2);
  CHECK(default_tolerance(DType::kF64).rtol == 1.3e-6);
  CHECK(default_tolerance(DType::kF32).atol == 1e-5);
  Tape tape = recorded({.dtype = DType::kF16});
  CHECK(replay(tape).cache_dtype == DType::kF16);
  Tensor& output = *tape.trace->layers.at(0).output;
  output = float_tensor(DType::kBF16, output.axes, doubles(output));
  const ReplayReport report = replay(tape);
  CHECK(report.cache_dtype == DType::kBF16);
  CHECK(report.success());
  CHECK(replay(tape, {.rtol = 1e-3}).tolerance.atol == 0);
  CHECK(replay(tape, {.atol = 1e-3}).tolerance.rtol == 0);
  CHECK_FALSE(replay(tape, {.rtol = 1e-9}).success());
}

TEST_CASE("a range of steps: the ones before are applied, not compared") {
  Tape tape = recorded({.steps = {3, 1, 1, 2}});
  Tensor& output = *tape.trace->layers.at(0).output;
  set(output, 0, 9);  // in step 0
  const ReplayReport all = replay(tape);
  const ReplayReport some = replay(tape, {.first_step = 1, .last_step = 3});
  CHECK(all.out_of_tolerance == 1);
  CHECK(some.out_of_tolerance == 0);
  CHECK(some.success());
  CHECK(some.steps == 2);
  CHECK(some.tokens == 2);
  CHECK(some.by_step.size() == 2);
  CHECK(some.by_step[0].number == 1);
  CHECK(some.compared == 2 * 2 * 4 * 5);
  CHECK(replay(tape, {.first_step = 9}).compared == 0);
}

TEST_CASE("fail-fast stops after the first bad layer and says so") {
  Tape tape = recorded({.layers = 3});
  set(*tape.trace->layers.at(1).output, 0, 9);
  const ReplayReport report = replay(tape, {.fail_fast = true});
  CHECK(report.layers == 2);
  REQUIRE(report.not_compared.size() == 1);
  CHECK(report.not_compared[0] ==
        "/trace/layers/2: not replayed after a failed layer");
}

TEST_CASE("what is missing is named and no success") {
  Tape tape = recorded({.layers = 5});
  tape.final_state.reset();
  tape.trace->layers.at(0).output.reset();
  tape.trace->layers.at(1).query.reset();
  tape.trace->layers.erase(2);
  tape.cache.layers.erase(3);
  const ReplayReport report = replay(tape);
  const std::vector<std::string> expected = {
      "/trace/layers/0/output: missing", "/trace/layers/1/query: missing",
      "/layers/3: missing", "/layers/2: no trace"};
  CHECK(report.not_compared == expected);
  CHECK(report.out_of_tolerance == 0);
  CHECK_FALSE(report.success());
}

TEST_CASE("a final state that differs is located") {
  Tape tape = recorded({.dtype = DType::kF16});
  LayerCache& layer = tape.final_state->layers.at(0);
  set(*layer.value, ((1 * 12 + 4) * 2 + 1) * 5 + 3, 7);
  layer.index = int_tensor({{AxisKind::kBatch, "batch", 2}}, {5, 6});
  const ReplayReport report = replay(tape);
  REQUIRE(report.final_state.size() == 3);
  CHECK(report.final_state[0].differing == 0);
  CHECK(report.final_state[0].compared == 2 * 12 * 2 * 6);
  CHECK(report.final_state[1].object == "/final/layers/0/value");
  CHECK(report.final_state[1].differing == 1);
  CHECK(report.final_state[1].first == "row 1 position 4 head 1 dim 3");
  CHECK(report.final_state[2].first == "row 1: expected 6, found 5");
  CHECK_FALSE(report.success());
}

TEST_CASE("a final state of another dtype or shape is no success") {
  Tape tape = recorded({});
  LayerCache& layer = tape.final_state->layers.at(0);
  layer.key = float_tensor(DType::kF64, layer.key->axes, doubles(*layer.key));
  const Tape shorter = random_tape({.extent = 11});
  layer.value = shorter.cache.layers.at(0).value;
  const ReplayReport report = replay(tape);
  CHECK(report.final_state[0].first == "dtype: expected f64, found f32");
  CHECK(report.final_state[1].first ==
        "shape of a row: expected [11, 2, 5], found [12, 2, 5]");
  CHECK(report.final_state[1].compared == 0);
  CHECK_FALSE(report.success());
}

TEST_CASE("final starts, slot positions and masks are compared") {
  const auto row = [](AxisKind kind, const std::vector<std::int64_t>& values) {
    return int_tensor({{AxisKind::kBatch, "batch", 1},
                       {kind, "position", std::ssize(values)}},
                      values);
  };
  Tape tape = recorded(
      {.batch = {1}, .extent = 4, .index = {2}, .layout = Layout::kRing});
  LayerCache& layer = tape.final_state->layers.at(0);
  layer.starts = int_tensor({{AxisKind::kBatch, "batch", 1}}, {0});
  layer.slot_position = row(AxisKind::kPosition, {4, 5, 6, 3});
  tape.trace->token_mask = row(AxisKind::kToken, {1, 1, 1, 1, 1});
  tape.cache.attention_mask = row(AxisKind::kPosition, {1, 1});
  tape.final_state->attention_mask =
      row(AxisKind::kPosition, {1, 1, 1, 1, 1, 1, 1});
  ReplayReport report = replay(tape);
  CHECK(report.success());
  REQUIRE(report.final_state.size() == 6);
  CHECK(report.final_state[4].object == "/final/layers/0/slot_position");
  CHECK(report.final_state[4].compared == 4);
  CHECK(report.final_state[5].object == "/final/attention_mask");
  CHECK(report.final_state[5].compared == 7);
  layer.starts = int_tensor({{AxisKind::kBatch, "batch", 1}}, {1});
  layer.slot_position = row(AxisKind::kPosition, {4, 5, 2, 3});
  tape.final_state->attention_mask = row(AxisKind::kPosition, {1, 1, 1});
  report = replay(tape);
  CHECK(report.final_state[3].first == "row 0: expected 1, found 0");
  CHECK(report.final_state[4].first == "row 0 position 2: expected 2, found 6");
  CHECK(report.final_state[5].first == "entries of a row: expected 3, found 7");
  CHECK_FALSE(report.success());
}

TEST_CASE("NaN payloads of a final state are compared") {
  Tape tape = random_tape({});
  Tensor& key = *tape.cache.layers.at(0).key;
  const auto with_bits = [&](std::uint32_t bits) {
    const auto old = key.source->bytes();
    std::vector<std::byte> bytes(old.begin(), old.end());
    std::memcpy(bytes.data() + bytes.size() - 4, &bits, 4);
    return make_tensor(DType::kF32, key.axes, std::move(bytes));
  };
  key = with_bits(0x7fc00001);
  Tape again = *replay(tape, {.keep = true}).replayed;
  CHECK(replay(again).success());
  again.cache.layers.at(0).key = with_bits(0x7fc00002);
  CHECK(replay(again).final_state[0].differing == 1);
}

TEST_CASE("errors that grow steadily have a doubling time") {
  TapeShape shape{.batch = {1}, .extent = 64, .steps = {}};
  shape.steps.assign(40, 1);
  Tape tape = recorded(shape);
  Tensor& output = *tape.trace->layers.at(0).output;
  std::vector<double> values = doubles(output);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] += 1e-5 * std::exp2(static_cast<double>(i / 20) / 4.0);
  output = float_tensor(output.dtype, output.axes, values);
  const ReplayReport report = replay(tape);
  REQUIRE(report.doubling_steps);
  CHECK(*report.doubling_steps == Approx(4).epsilon(0.05));
}

TEST_CASE("errors that do not grow steadily have none") {
  std::vector<double> errors;
  tests::Numbers random(4);
  for (int step = 0; step < 50; ++step)
    errors.push_back(1e-6 * std::exp2(random.next()));
  CHECK_FALSE(doubling_steps(errors));  // flat
  errors[49] = 1;
  CHECK_FALSE(doubling_steps(errors));  // one jump
  for (int step = 0; step < 50; ++step)
    errors[static_cast<std::size_t>(step)] *= std::exp2(step / 5.0);
  errors[49] = 1e-3;
  REQUIRE(doubling_steps(errors));
  CHECK(*doubling_steps(errors) == Approx(5).epsilon(0.1));
  errors[3] = 0;  // an exact step says nothing
  CHECK(doubling_steps(errors));
  CHECK_FALSE(doubling_steps({1, 2, 4, 8, 16, 32, 64}));  // too few
  CHECK(*doubling_steps({1, 2, 4, 8, 16, 32, 64, 128}) == Approx(1));
  CHECK_FALSE(doubling_steps({128, 64, 32, 16, 8, 4, 2, 1}));
  errors[7] = std::nan("");
  CHECK_FALSE(doubling_steps(errors));
}

TEST_CASE("the result depends on no number of threads and on no split") {
  TapeShape shape{.batch = {2}, .extent = 1300, .steps = {}, .index = {1200}};
  shape.steps.assign(60, 1);
  const Tape tape = random_tape(shape);
  const auto outputs = [](const Tape& given, int threads) {
    const ReplayReport report =
        replay(given, {.keep = true, .threads = threads});
    const auto bytes =
        report.replayed->trace->layers.at(0).output->source->bytes();
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  const auto expected = outputs(tape, 1);
  CHECK(outputs(tape, 2) == expected);
  CHECK(outputs(tape, 3) == expected);
  // Positions in slot_position order keep steps from being joined.
  Tape apart = tape;
  apart.cache.layers.at(0).layout = Layout::kRing;
  CHECK(outputs(apart, 2) == expected);
}

TEST_CASE("progress ends with everything") {
  std::int64_t last = 0;
  std::int64_t all = -1;
  ReplayOptions options;
  options.progress = [&](std::int64_t done, std::int64_t total) {
    CHECK(done >= last);
    last = done;
    all = total;
  };
  replay(random_tape({.layers = 2}), options);
  CHECK(last == all);
  CHECK(all == 2 * 2 * 5);
}

}  // namespace
}  // namespace kvtape
