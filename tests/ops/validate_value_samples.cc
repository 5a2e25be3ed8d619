// Tapes whose values break one rule each.
#include <cmath>
#include <limits>

#include "ops/tapes.h"
#include "ops/validate_samples.h"

namespace kvtape::test {
namespace {

const float kNaN = std::nanf("");
const float kInfinity = std::numeric_limits<float>::infinity();

template <typename Spoil>
std::function<Tape()> spoiled(const Spoil& spoil) {
  return [spoil] {
    Tape tape = sound_tape();
    spoil(tape);
    return tape;
  };
}

/// A slot of a row, all zero or a copy of another one.
Tensor with_slot(const Tensor& tensor, std::int64_t row, std::int64_t position,
                 std::int64_t from) {
  return edited<float>(tensor, [&](std::vector<float>& data) {
    for (std::int64_t head = 0; head < 2; ++head)
      for (std::int64_t dim = 0; dim < 6; ++dim)
        data[place(row, position, head, dim)] =
            from < 0 ? 0 : data[place(row, from, head, dim)];
  });
}

Tensor with_number(const Tensor& tensor, std::size_t at, float number) {
  return edited<float>(tensor,
                       [&](std::vector<float>& data) { data[at] = number; });
}

/// Codes of a slot outside [first, last) are 0, their scales too small to see.
Tensor int8_tensor(const TapeShape& shape, std::uint32_t seed) {
  const Tensor like =
      cache_tensor({shape.batch, shape.length, shape.key_heads, shape.dim},
                   shape.pads, shape.filled, seed);
  std::vector<std::int8_t> codes;
  for (const double number : doubles(like))
    codes.push_back(static_cast<std::int8_t>(number * 127));
  Tensor tensor = make_tensor(DType::kI8, like.axes, bytes_of(codes));
  tensor.dtype = DType::kF32;
  Quantization& q = tensor.quantization;
  q.scheme = Quantization::Scheme::kInt8;
  q.payload_count = static_cast<std::int64_t>(codes.size());
  q.scale_count = q.payload_count / shape.dim;
  set_scales(tensor,
             std::vector<float>(static_cast<std::size_t>(q.scale_count), 0.5F));
  return tensor;
}

/// A cache of int8 tensors with one scale, or one code, of layer 1 changed.
std::function<Tape()> int8_tape(std::size_t at, float scale, int code) {
  return [=] {
    Tape tape;
    tape.cache = sound_cache();
    for (auto& [number, layer] : tape.cache.layers) {
      const auto seed = static_cast<std::uint32_t>(number * 7);
      layer.key = int8_tensor({}, seed + 3);
      layer.value = int8_tensor({}, seed + 4);
    }
    Tensor& key = *tape.cache.layers[1].key;
    std::vector<float> scales(
        static_cast<std::size_t>(key.quantization.scale_count), 0.5F);
    scales[at] = scale;
    set_scales(key, scales);
    if (code == 0) return tape;
    const Quantization kept = key.quantization;
    key.quantization = {};
    key = edited<std::int8_t>(key, [&](std::vector<std::int8_t>& codes) {
      codes[at] = static_cast<std::int8_t>(code);
    });
    key.quantization = kept;
    return tape;
  };
}

Tensor mask_of(const std::vector<std::int32_t>& row) {
  std::vector<std::int32_t> both = row;
  both.insert(both.end(), row.begin(), row.end());
  return int_tensor(
      {axis(AxisKind::kBatch, 2),
       axis(AxisKind::kPosition, static_cast<std::int64_t>(row.size()))},
      both);
}

std::vector<RuleSample> slot_samples() {
  return {
      {"E70", "/layers/1/key", spoiled([](Tape& t) {
         auto& key = t.cache.layers[1].key;
         key = with_number(*key, place(1, 3, 1, 2), kNaN);
       })},
      {"E71", "/layers/1/value", spoiled([](Tape& t) {
         auto& value = t.cache.layers[1].value;
         value = with_number(*value, place(1, 3, 1, 2), -kInfinity);
       })},
      {"E72", "/layers/1/key", spoiled([](Tape& t) {
         auto& key = t.cache.layers[1].key;
         key = with_slot(*key, 0, 4, -1);
       })},
      {"E73", "/layers/1", spoiled([](Tape& t) {
         LayerCache& layer = t.cache.layers[1];
         layer.key = with_slot(*layer.key, 1, 4, 2);
         layer.value = with_slot(*layer.value, 1, 4, 2);
       })},
      {"E74", "/layers/1/value", spoiled([](Tape& t) {
         auto& value = t.cache.layers[1].value;
         value = edited<float>(*value, [](std::vector<float>& data) {
           for (std::int64_t slot = 0; slot < 8; ++slot)
             for (std::int64_t dim = 0; dim < 6; ++dim)
               data[place(1, slot, 1, dim)] = 0;
         });
       })},
      {"W50", "/layers/1/key", spoiled([](Tape& t) {
         auto& key = t.cache.layers[1].key;
         key = with_number(*key, place(0, 6, 0, 0), kNaN);
       })},
      {"W51", "/layers/1/value", spoiled([](Tape& t) {
         auto& value = t.cache.layers[1].value;
         value = with_slot(*value, 1, 7, 2);
       })},
      {"W52", "/layers", spoiled([](Tape& t) {
         t.cache.attention_mask.reset();
         auto& key = t.cache.layers[1].key;
         key = with_number(*key, place(0, 0, 0, 0), 1);
       })},
  };
}

std::vector<RuleSample> other_samples() {
  return {
      {"E75", "/layers/1/key", int8_tape(2, -0.5F, 0)},
      {"E76", "/layers/1/slot_position", spoiled([](Tape& t) {
         t.cache.layers[1].slot_position = mask_of({0, 1, 2, 2, 4, -1, -1, -1});
       })},
      {"E77", "/trace/layers/1/output", spoiled([](Tape& t) {
         auto& output = t.trace->layers[1].output;
         output = with_number(*output, 5, kNaN);
       })},
      {"W53", "/layers/1/key", int8_tape(15, 0, 0)},
      {"W54", "/layers/1/key", int8_tape(20, 0.5F, -128)},
      {"W55", "/attention_mask", spoiled([](Tape& t) {
         t.cache.attention_mask = mask_of({0, 1, 1, 1, 1, 1, 1, 2});
       })},
      {"W56", "/attention_mask", spoiled([](Tape& t) {
         t.cache.attention_mask = mask_of({0, 0, 1, 1, 1, 1, 1, 1});
       })},
      {"W57", "/tokens", spoiled([](Tape& t) {
         t.cache.tokens = mask_of({0, 1, -5, 1, 1, 1, 1, 2});
       })},
  };
}

}  // namespace

const std::vector<RuleSample>& value_samples() {
  static const std::vector<RuleSample> samples = [] {
    std::vector<RuleSample> all = slot_samples();
    for (const RuleSample& sample : other_samples()) all.push_back(sample);
    return all;
  }();
  return samples;
}

}  // namespace kvtape::test
