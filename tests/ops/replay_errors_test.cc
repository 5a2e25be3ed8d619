// Tapes that contradict themselves are refused by name, before anything is
// computed.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "kvtape/error.h"
#include "kvtape/replay.h"
#include "random_tape.h"

namespace kvtape {
namespace {

using tests::int_tensor;
using tests::random_tape;

using Spoil = std::function<void(Tape&)>;

LayerCache& layer(Tape& tape) { return tape.cache.layers.at(0); }
LayerTrace& traced(Tape& tape) { return tape.trace->layers.at(0); }

const std::vector<Axis> kRows = {{AxisKind::kBatch, "batch", 2}};

void refuses(const std::string& object, const std::string& field,
             const Spoil& spoil) {
  Tape tape = random_tape({});
  spoil(tape);
  CAPTURE(object, field);
  try {
    replay(tape);
    FAIL_CHECK("not refused");
  } catch (const Error& error) {
    CHECK(error.parts().object == object);
    CHECK(error.parts().field == field);
    CHECK_FALSE(error.parts().expected.empty());
    CHECK_FALSE(error.parts().found.empty());
  }
}

TEST_CASE("no trace, no steps") {
  refuses("/trace", "layers", [](Tape& t) { t.trace.reset(); });
  refuses("/trace", "layers", [](Tape& t) { t.trace->layers.clear(); });
  refuses("/trace/step_lengths", "dataset",
          [](Tape& t) { t.trace->step_lengths.reset(); });
  refuses("/trace/step_lengths", "value", [](Tape& t) {
    t.trace->step_lengths =
        int_tensor({{AxisKind::kBatch, "step", 2}}, {6, -1});
  });
  refuses("/trace/layers/0/query", "tokens", [](Tape& t) {
    t.trace->step_lengths = int_tensor({{AxisKind::kBatch, "step", 2}}, {3, 1});
  });
}

TEST_CASE("shapes that disagree") {
  const Tape other = random_tape({.batch = {3},
                                  .extent = 10,
                                  .key_heads = 4,
                                  .key_dim = 8,
                                  .value_dim = 7});
  const LayerCache& cache = other.cache.layers.at(0);
  const LayerTrace& trace = other.trace->layers.at(0);
  refuses("/layers/0/value", "rows",
          [&](Tape& t) { layer(t).value = cache.value; });
  refuses("/layers/0/value", "positions", [&](Tape& t) {
    layer(t).value = random_tape({.extent = 10}).cache.layers.at(0).value;
  });
  refuses("/trace/layers/0/query", "rows",
          [&](Tape& t) { traced(t).query = trace.query; });
  refuses("/trace/layers/0/query", "dim", [&](Tape& t) {
    traced(t).query = random_tape({.key_dim = 8}).trace->layers.at(0).query;
  });
  refuses("/trace/layers/0/key", "heads", [&](Tape& t) {
    traced(t).key = random_tape({.key_heads = 4}).trace->layers.at(0).key;
  });
  refuses("/trace/layers/0/value", "dim", [&](Tape& t) {
    traced(t).value = random_tape({.value_dim = 7}).trace->layers.at(0).value;
  });
  refuses("/trace/layers/0/output", "heads", [&](Tape& t) {
    traced(t).output = random_tape({}).trace->layers.at(0).key;
  });
  refuses("/layers/0/index", "rows", [&](Tape& t) {
    layer(t).index = int_tensor({{AxisKind::kBatch, "batch", 3}}, {0, 0, 0});
  });
  refuses("/layers/0/slot_position", "positions", [&](Tape& t) {
    layer(t).slot_position = int_tensor(
        {{AxisKind::kBatch, "b", 2}, {AxisKind::kPosition, "p", 1}}, {0, 0});
  });
}

TEST_CASE("specs that contradict") {
  refuses("/attention", "query_heads",
          [](Tape& t) { t.cache.attention.query_heads = 3; });
  refuses("/attention", "query_heads",
          [](Tape& t) { t.cache.attention.query_heads = 0; });
  refuses("/attention", "softmax_scale",
          [](Tape& t) { t.cache.attention.softmax_scale = HUGE_VAL; });
  refuses("/attention", "logit_softcap",
          [](Tape& t) { t.cache.attention.logit_softcap = -1; });
  refuses("/layers/0", "window", [](Tape& t) { layer(t).window = -2; });
  refuses("/trace/attention_mask", "dataset",
          [](Tape& t) { t.cache.attention.visibility = Visibility::kMask; });
  refuses("/trace/attention_mask", "positions", [](Tape& t) {
    t.cache.attention.visibility = Visibility::kMask;
    t.trace->attention_mask = int_tensor({{AxisKind::kBatch, "b", 2},
                                          {AxisKind::kToken, "t", 5},
                                          {AxisKind::kPosition, "p", 3}},
                                         std::vector<std::int64_t>(30, 1));
  });
  const auto rotary = [](Tape& t) -> RotarySpec& {
    t.cache.rotary = {.keys_rotated = false, .style = RotaryStyle::kHalf};
    return t.cache.rotary;
  };
  refuses("/rotary", "dims", [&](Tape& t) { rotary(t).dims = 3; });
  refuses("/rotary", "dims", [&](Tape& t) { rotary(t).dims = 8; });
  refuses("/rotary", "theta", [&](Tape& t) { rotary(t).theta = 0; });
  refuses("/rotary/inv_freq", "length",
          [&](Tape& t) { rotary(t).inv_freq = std::vector{1.0}; });
}

TEST_CASE("numbers out of range") {
  refuses("/layers/0/index", "value", [](Tape& t) {
    layer(t).layout = Layout::kRing;
    layer(t).index = int_tensor(kRows, {-1, 0});
  });
  refuses("/layers/0/starts", "value", [](Tape& t) {
    layer(t).starts = int_tensor(kRows, {0, 0x7fffffff});
  });
  refuses("/trace/start_index", "value", [](Tape& t) {
    t.trace->keys_in = Trace::KeysIn::kCache;
    t.trace->start_index = int_tensor(kRows, {0, 8});
  });
  refuses("/trace/positions", "value", [](Tape& t) {
    t.cache.rotary = {.keys_rotated = false, .style = RotaryStyle::kHalf};
    t.trace->positions =
        int_tensor({{AxisKind::kBatch, "b", 2}, {AxisKind::kToken, "t", 5}},
                   {0, 1, 2, 3, 4, 5, 6, 7, 8, 0x7fffffff});
  });
}

TEST_CASE("quantized tensors with too little of something") {
  const auto key = [](Tape& t, Quantization::Scheme scheme) -> Tensor& {
    Tensor& tensor = *layer(t).key;
    return tensor = tests::quantized(tensor, scheme, 4);
  };
  const auto int8 = Quantization::Scheme::kInt8;
  const auto nf4 = Quantization::Scheme::kNF4;
  const std::string object = "/layers/0/key";
  refuses(object, "scales",
          [&](Tape& t) { key(t, int8).quantization.scales.reset(); });
  refuses(object, "scales",
          [&](Tape& t) { --key(t, int8).quantization.scale_count; });
  refuses(object, "data",
          [&](Tape& t) { ++key(t, nf4).quantization.payload_count; });
  refuses(object, "bytes", [&](Tape& t) {
    key(t, nf4).source = make_source(std::vector<std::byte>(3), {3}, 1);
  });
  refuses(object, "block_size",
          [&](Tape& t) { key(t, nf4).quantization.block_size = 7; });
  refuses(object, "dtype of scales",
          [&](Tape& t) { key(t, nf4).quantization.scale_dtype = DType::kF16; });
  refuses(object, "axes", [&](Tape& t) {
    Tensor& tensor = key(t, int8);
    std::swap(tensor.axes[1], tensor.axes[2]);
  });
}

TEST_CASE("tensors that are none") {
  refuses("/layers/0/key", "data",
          [](Tape& t) { layer(t).key->source.reset(); });
  refuses("/layers/0/key", "bytes",
          [](Tape& t) { layer(t).key->axes[0].size = 1; });
  refuses("/layers/0/key", "shape",
          [](Tape& t) { layer(t).key->axes[1].size = -4; });
  refuses("/layers/0/key", "shape", [](Tape& t) {
    for (Axis& axis : layer(t).key->axes) axis.size = std::int64_t{1} << 40;
  });
  refuses("/layers/0/key", "axes",
          [](Tape& t) { layer(t).key->axes[3].kind = AxisKind::kHead; });
  refuses("/layers/0/key", "axes",
          [](Tape& t) { layer(t).key->axes[1].kind = AxisKind::kToken; });
  refuses("/layers/0/key", "layer", [](Tape& t) {
    layer(t).key->axes[0].kind = AxisKind::kLayer;
    layer(t).key->layer = 2;
  });
  refuses("/layers/0/key", "dtype",
          [](Tape& t) { layer(t).key->dtype = DType::kI32; });
  refuses("/layers/0/index", "dtype",
          [](Tape& t) { layer(t).index->dtype = DType::kF32; });
  refuses("/trace/layers/0/query", "axes",
          [](Tape& t) { traced(t).query->axes[1].kind = AxisKind::kPosition; });
}

}  // namespace
}  // namespace kvtape
