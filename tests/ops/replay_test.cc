// Replay against the written-out reference in double precision.
#include "kvtape/replay.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "hidden_source.h"
#include "kvtape/error.h"
#include "random_tape.h"
#include "reference/replay64.h"
#include "reference/storage64.h"

namespace kvtape {
namespace {

using tests::batch_axes;
using tests::float_tensor;
using tests::int_tensor;
using tests::random_tape;
using tests::rows_of;
using tests::TapeShape;
using tests::tokens_of;

using Mode = ReplayOptions::Mode;

double largest(const std::vector<double>& values) {
  double result = 0;
  for (double value : values)
    if (std::isfinite(value)) result = std::max(result, std::fabs(value));
  return result;
}

// Largest difference; infinite where only one is NaN.
double difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double result = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::isnan(a[i]) != std::isnan(b[i])) return HUGE_VAL;
    result = std::max(result, std::fabs(a[i] - b[i]));
  }
  return result;
}

// Puts the reference's outputs into the trace as the recorded ones.
void record(Tape& tape, Mode mode) {
  for (const auto& [number, layer] : reference::replay64(tape, mode)) {
    LayerTrace& trace = tape.trace->layers.at(number);
    std::vector<Axis> axes = trace.query->axes;
    for (Axis& axis : axes) {
      if (axis.kind == AxisKind::kHead) axis.size = layer.query_heads;
      if (axis.kind == AxisKind::kDim) axis.size = layer.value_dim;
    }
    trace.output = float_tensor(DType::kF64, axes, layer.output);
  }
}

// Outputs to 1e-6 of the largest, kept state to the bit.
ReplayReport check(Tape tape, Mode mode = Mode::kChecked,
                   double relative = 1e-6) {
  record(tape, mode);
  ReplayReport report =
      replay(tape, {.mode = mode, .atol = 1e-3, .keep = true, .threads = 2});
  CHECK(report.findings.empty());
  CHECK(report.not_compared.empty());
  CHECK(report.success());
  for (const auto& [number, layer] : reference::replay64(tape, mode)) {
    CAPTURE(number);
    REQUIRE(layer.refused.empty());
    const auto outputs =
        doubles(*report.replayed->trace->layers.at(number).output);
    CHECK(difference(outputs, layer.output) <=
          relative * largest(layer.output));
    const LayerCache& kept = report.replayed->final_state->layers.at(number);
    CHECK(reference::elements(*kept.key) == layer.key);
    CHECK(reference::elements(*kept.value) == layer.value);
    CHECK(integers(*kept.index) == layer.index);
  }
  return report;
}

TEST_CASE("a linear cache") {
  check(random_tape({}));
  check(random_tape({.batch = {3}, .index = {0, 4, 7}, .starts = {0, 2, 9}}));
}

TEST_CASE("any dtype of cache and trace") {
  for (DType cache : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (DType trace : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
      CAPTURE(name(cache), name(trace));
      check(random_tape({.dtype = cache, .trace_dtype = trace}));
      check(random_tape(
          {.dtype = cache, .trace_dtype = trace, .layout = Layout::kGrowing}));
    }
}

TEST_CASE("any order of axes, several batch axes, stacked layers") {
  for (const char* order : {"bphd", "bhpd", "bdhp", "phbd", "dbph", "hdpb"})
    for (bool stacked : {false, true}) {
      CAPTURE(order, stacked);
      check(random_tape({.batch = {2, 3},
                         .layers = 3,
                         .index = {0, 1, 2, 3, 4, 5},
                         .order = order,
                         .stacked = stacked}));
    }
  check(random_tape({.key_heads = 1, .order = "bdp"}));
}

TEST_CASE("caches of more than one page") {
  for (std::int64_t extent : {511, 512, 513, 1100})
    for (Layout layout :
         {Layout::kLinear, Layout::kGrowing, Layout::kRing, Layout::kShift}) {
      CAPTURE(extent, static_cast<int>(layout));
      const std::int64_t index =
          layout == Layout::kLinear ? extent - 7 : extent;
      check(random_tape({.batch = {1},
                         .extent = extent,
                         .steps = {1, 2, 1, 3},
                         .index = {index},
                         .layout = layout,
                         .order = "bhdp"}));
    }
}

TEST_CASE("a ring and a shifting cache go round the end") {
  for (Layout layout : {Layout::kRing, Layout::kShift})
    for (std::int64_t window : {0, 3}) {
      CAPTURE(static_cast<int>(layout), window);
      Tape tape = random_tape({.batch = {3},
                               .extent = 5,
                               .steps = {2, 1, 3, 1, 7, 1},
                               .index = {0, 3, 12},
                               .layout = layout});
      tape.cache.layers.at(0).window = window;
      check(tape);
    }
}

TEST_CASE("a growing cache begins empty") {
  for (DType trace : {DType::kF16, DType::kF32, DType::kF64})
    check(random_tape({.extent = 0,
                       .steps = {4, 1, 0, 2},
                       .dtype = DType::kF16,
                       .trace_dtype = trace,
                       .layout = Layout::kGrowing}));
}

TEST_CASE("a frozen layer keeps nothing") {
  for (Layout layout :
       {Layout::kLinear, Layout::kGrowing, Layout::kRing, Layout::kShift}) {
    Tape tape = random_tape({.extent = 9,
                             .steps = {2, 1, 3},
                             .index = {layout == Layout::kGrowing ? 9 : 6},
                             .layout = layout});
    tape.cache.layers.at(0).frozen = true;
    check(tape);
  }
}

TEST_CASE("scale, softcap, window, tile, range, masked rows") {
  for (std::int64_t window : {0, 1, 4})
    for (Visibility visibility : {Visibility::kCausal, Visibility::kRange})
      for (MaskedRows rows :
           {MaskedRows::kUniform, MaskedRows::kZeros, MaskedRows::kNaN}) {
        Tape tape = random_tape({.batch = {3},
                                 .key_heads = 3,
                                 .query_heads = 6,
                                 .steps = {3, 1, 2, 1},
                                 .index = {2, 0, 4},
                                 .starts = {0, 4, 8}});
        tape.cache.layers.at(0).window = window;
        tape.cache.attention.softmax_scale = 3.5;
        tape.cache.attention.logit_softcap = 1.25;
        tape.cache.attention.head_map = HeadMap::kTile;
        tape.cache.attention.visibility = visibility;
        tape.cache.attention.masked_rows = rows;
        CAPTURE(window, static_cast<int>(visibility), static_cast<int>(rows));
        check(tape);
      }
}

std::vector<std::int64_t> random_bits(std::int64_t count, std::uint64_t seed) {
  tests::Numbers numbers(seed);
  std::vector<std::int64_t> bits;
  for (std::int64_t i = 0; i < count; ++i)
    bits.push_back(numbers.below(3) == 0 ? 0 : 1);
  return bits;
}

TEST_CASE("recorded masks, for all layers and for one") {
  for (bool own : {false, true})
    for (std::int64_t columns : {12, 20}) {
      const TapeShape shape{.batch = {2, 2}, .index = {1, 0, 6, 7}};
      Tape tape = random_tape(shape);
      tape.cache.attention.visibility = Visibility::kMask;
      std::vector<Axis> axes = batch_axes(shape);
      axes.push_back({AxisKind::kToken, "token", tokens_of(shape)});
      axes.push_back({AxisKind::kPosition, "position", columns});
      const Tensor mask = int_tensor(
          axes, random_bits(rows_of(shape) * tokens_of(shape) * columns, 5));
      if (own)
        tape.trace->layers.at(0).attention_mask = mask;
      else
        tape.trace->attention_mask = mask;
      check(tape);
    }
}

TEST_CASE("masks of positions and of tokens, with rotary embedding") {
  for (Layout layout :
       {Layout::kLinear, Layout::kGrowing, Layout::kRing, Layout::kShift})
    for (RotaryStyle style : {RotaryStyle::kHalf, RotaryStyle::kInterleaved})
      for (std::int64_t columns : {0, 7, 9, 15}) {
        const TapeShape shape{.batch = {3},
                              .extent = 9,
                              .steps = {3, 1, 2},
                              .index = {layout == Layout::kGrowing ? 9 : 3},
                              .layout = layout};
        Tape tape = random_tape(shape);
        tape.cache.rotary = {.keys_rotated = false,
                             .queries_rotated = false,
                             .style = style,
                             .theta = 100,
                             .dims = 4,
                             .attention_factor = 1.1};
        tape.cache.attention_mask =
            int_tensor({{AxisKind::kBatch, "batch", 3},
                        {AxisKind::kPosition, "position", columns}},
                       random_bits(3 * columns, 7));
        CAPTURE(static_cast<int>(layout), static_cast<int>(style), columns);
        check(tape);
        tape.trace->token_mask = int_tensor(
            {{AxisKind::kBatch, "batch", 3}, {AxisKind::kToken, "token", 6}},
            random_bits(18, 9));
        check(tape);
        tape.trace->positions = int_tensor(
            {{AxisKind::kBatch, "batch", 3}, {AxisKind::kToken, "token", 6}},
            {0, 1, 2, 3, 4, 5, 0, 0, 1, 1, 2, 2, 9, 8, 7, 6, 5, 4});
        check(tape);
      }
}

TEST_CASE("tokens that see nothing average the cache as it then is") {
  for (Layout layout : {Layout::kLinear, Layout::kGrowing})
    for (bool by_tokens : {false, true}) {
      Tape tape = random_tape({.batch = {1},
                               .extent = layout == Layout::kLinear ? 9 : 0,
                               .steps = {1, 1, 2, 1, 1},
                               .layout = layout});
      const auto kind = by_tokens ? AxisKind::kToken : AxisKind::kPosition;
      const Tensor mask = int_tensor(
          {{AxisKind::kBatch, "batch", 1}, {kind, "x", 6}}, {0, 0, 0, 1, 0, 1});
      (by_tokens ? tape.trace->token_mask : tape.cache.attention_mask) = mask;
      check(tape);
    }
}

TEST_CASE("keys that are in the cache already") {
  for (Visibility visibility : {Visibility::kCausal, Visibility::kRange}) {
    Tape tape = random_tape({.index = {9, 11}});
    tape.cache.attention.visibility = visibility;
    tape.trace->keys_in = Trace::KeysIn::kCache;
    tape.trace->layers.at(0).key.reset();
    tape.trace->layers.at(0).value.reset();
    check(tape);
    tape.trace->start_index =
        int_tensor({{AxisKind::kBatch, "batch", 2}}, {1, 3});
    check(tape);
  }
}

TEST_CASE("slots that are not in order") {
  Tape tape = random_tape({.batch = {1}, .extent = 8, .index = {3}});
  tape.cache.layers.at(0).slot_position = int_tensor(
      {{AxisKind::kBatch, "batch", 1}, {AxisKind::kPosition, "position", 8}},
      {2, 0, 1, -1, -1, 9, 4, -1});
  check(tape);
}

TEST_CASE("sources that cannot be addressed give the same") {
  Tape tape = random_tape({.extent = 700, .index = {690}, .order = "bdhp"});
  LayerCache& layer = tape.cache.layers.at(0);
  layer.key = tests::hidden(*layer.key);
  layer.value = tests::hidden(*layer.value);
  LayerTrace& trace = tape.trace->layers.at(0);
  trace.query = tests::hidden(*trace.query);
  trace.key = tests::hidden(*trace.key);
  check(tape);
}

void quantize(Tape& tape, Quantization::Scheme scheme, std::int64_t block) {
  for (auto* tensor :
       {&tape.cache.layers.at(0).key, &tape.cache.layers.at(0).value})
    *tensor = tests::quantized(**tensor, scheme, block);
}

// The kept state, recorded, is what a second replay finds, codes and all.
void check_recorded_codes(const Tape& tape) {
  Tape again = *replay(tape, {.keep = true}).replayed;
  CHECK(replay(again).success());
  Tensor& key = *again.final_state->layers.at(0).key;
  const auto old = key.source->bytes();
  std::vector<std::byte> codes(old.begin(), old.end());
  codes[7] ^= std::byte{1};
  const std::int64_t count = std::ssize(codes);
  key.source = make_source(std::move(codes), {count}, 1);
  const ReplayReport report = replay(again);
  CHECK(report.final_state[0].differing == 1);
  CHECK(report.final_state[0].first == "from row 0 on, byte of codes 7");
}

TEST_CASE("quantized caches are quantized again after every step") {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (Layout layout : {Layout::kLinear, Layout::kRing, Layout::kShift})
      for (std::int64_t block : {0, 2, 4, 5, 6, 8, 10, 24}) {
        Tape tape = random_tape({.extent = 12,
                                 .key_dim = 10,
                                 .steps = {3, 1, 1, 2},
                                 .index = {5, 3},
                                 .dtype = dtype,
                                 .trace_dtype = DType::kF32,
                                 .layout = layout});
        CAPTURE(name(dtype), static_cast<int>(layout), block);
        quantize(tape,
                 block == 0 ? Quantization::Scheme::kInt8
                            : Quantization::Scheme::kNF4,
                 block);
        check(tape);
        check_recorded_codes(tape);
        tape.cache.layers.at(0).frozen = true;
        check(tape);
      }
}

TEST_CASE("a quantized cache of several pages, with rotary embedding") {
  for (std::int64_t block : {0, 4}) {
    Tape tape = random_tape({.extent = 1100,
                             .steps = {3, 1, 1, 2},
                             .index = {509, 1022},
                             .dtype = DType::kF16});
    quantize(
        tape,
        block == 0 ? Quantization::Scheme::kInt8 : Quantization::Scheme::kNF4,
        block);
    tape.cache.rotary = {.keys_rotated = false,
                         .queries_rotated = false,
                         .style = RotaryStyle::kHalf};
    check(tape);
  }
}

TEST_CASE("clamped writes: a finding, or what the system does") {
  Tape tape = random_tape(
      {.batch = {3}, .extent = 6, .steps = {2, 1, 2}, .index = {0, 2, -4}});
  check(tape, Mode::kFaithful);
  record(tape, Mode::kFaithful);
  const ReplayReport report = replay(tape);
  REQUIRE(report.findings.size() == 1);
  CHECK(report.findings[0].rule == "E90");
  CHECK(report.findings[0].object == "/trace/layers/0/key");
  CHECK(report.findings[0].field == "step 0 row 2");
  CHECK(report.findings[0].found.find("clamped to [2, 4)") !=
        std::string::npos);
  CHECK(report.compared == 0);
  CHECK(report.not_compared.size() == 1);
  CHECK_FALSE(report.success());
}

}  // namespace
}  // namespace kvtape
