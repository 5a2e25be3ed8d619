// Tapes that break one structural rule each.
#include "ops/validate_samples.h"

#include <cmath>

#include "ops/tapes.h"

namespace kvtape::test {
namespace {

constexpr double kInfinity = HUGE_VAL;

template <typename Spoil>
std::function<Tape()> spoiled(const Spoil& spoil) {
  return [spoil] {
    Tape tape = sound_tape();
    spoil(tape);
    return tape;
  };
}

/// The layers' tensors of another shape than the metadata say; no trace.
std::function<Tape()> shaped(std::int64_t TapeShape::*size, std::int64_t has,
                             bool all_layers) {
  return [size, has, all_layers] {
    Tape tape;
    tape.cache = sound_cache();
    tape.cache.attention_mask.reset();
    TapeShape other;
    other.*size = has;
    for (auto& [number, layer] : tape.cache.layers) {
      const LayerCache from = sound_layer(other, number);
      if (!all_layers && number != 1) continue;
      layer.key = from.key;
      layer.value = from.value;
      if (size == &TapeShape::batch) {
        layer.index = from.index;
        layer.starts = from.starts;
      }
    }
    return tape;
  };
}

template <typename Spoil>
std::function<Tape()> cache_only(const Spoil& spoil) {
  return [spoil] {
    Tape tape;
    tape.cache = sound_cache();
    spoil(tape.cache);
    return tape;
  };
}

/// A cache that grows: its length is its index, and there are no pads.
template <typename Spoil>
std::function<Tape()> growing(const Spoil& spoil) {
  return [spoil] {
    TapeShape shape;
    shape.pads = 0;
    shape.length = shape.filled = 6;
    Tape tape;
    tape.cache = sound_cache(shape);
    for (auto& [number, layer] : tape.cache.layers)
      layer.layout = Layout::kGrowing;
    spoil(tape.cache);
    return tape;
  };
}

/// Every layer quantized, in the form that its sizes ask for.
template <typename Spoil>
std::function<Tape()> quantized(Quantization::Scheme scheme,
                                const Spoil& spoil) {
  return [scheme, spoil] {
    Tape tape;
    tape.cache = sound_cache();
    const bool int8 = scheme == Quantization::Scheme::kInt8;
    for (auto& [number, layer] : tape.cache.layers)
      for (Tensor* tensor : {&*layer.key, &*layer.value}) {
        const std::int64_t count = element_count(*tensor);
        Quantization& q = tensor->quantization;
        q.scheme = scheme;
        q.block_size = int8 ? 0 : 6;
        q.scale_count = count / 6;
        q.payload_dtype = int8 ? DType::kI8 : DType::kU8;
        q.payload_count = int8 ? count : count / 2;
        spoil(number, q);
      }
    return tape;
  };
}

void each_layer(Cache& cache, const std::function<void(LayerCache&)>& spoil) {
  for (auto& [number, layer] : cache.layers) spoil(layer);
}

Tensor as_floats(const Tensor& tensor) {
  return float_tensor(
      tensor.axes,
      std::vector<float>(static_cast<std::size_t>(element_count(tensor))));
}

Tensor mask_tensor(const std::vector<std::int64_t>& sizes) {
  std::vector<Axis> axes = {axis(AxisKind::kBatch, sizes[0]),
                            axis(AxisKind::kToken, sizes[1])};
  if (sizes.size() > 2) axes.push_back(axis(AxisKind::kPosition, sizes[2]));
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return int_tensor(
      axes, std::vector<std::int32_t>(static_cast<std::size_t>(count), 1));
}

std::vector<RuleSample> metadata_samples() {
  return {
      {"E10", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.batch_size = 0; })},
      {"E11", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.sequence_length = -1; })},
      {"E12", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.num_hidden_layers = 0; })},
      {"E13", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.head_dim.reset(); })},
      {"E14", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.num_heads.reset(); })},
      {"E15", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.value_dim = -6; })},
      {"E16", "/metadata", spoiled([](Tape& t) {
         t.cache.metadata.num_heads = 5;
         t.cache.metadata.key_heads = 2;
         t.cache.metadata.value_heads = 2;
       })},
      {"W10", "/metadata",
       spoiled([](Tape& t) { t.cache.metadata.key_heads = 0; })},
      {"W11", "/metadata",
       [] {
         Tape tape;
         tape.cache = sound_cache();
         tape.cache.metadata.value_heads = 1;
         TapeShape narrow;
         narrow.key_heads = 1;
         for (auto& [number, layer] : tape.cache.layers)
           layer.value = sound_layer(narrow, number).value;
         return tape;
       }},
  };
}

std::vector<RuleSample> layer_samples() {
  return {
      {"E17", "/layers", cache_only([](Cache& c) { c.layers.erase(1); })},
      {"E18", "/layers/3",
       cache_only([](Cache& c) { c.layers[3] = sound_layer({}, 3); })},
      {"E19", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].value.reset(); })},
      {"E20", "/layers/1/key", cache_only([](Cache& c) {
         c.layers[1].key->axes[2].kind = AxisKind::kPosition;
       })},
      {"E21", "/layers/1/key", shaped(&TapeShape::batch, 3, true)},
      {"E22", "/layers/1/key", shaped(&TapeShape::length, 7, false)},
      {"E23", "/layers/1/key", shaped(&TapeShape::key_heads, 3, false)},
      {"E24", "/layers/1/key", shaped(&TapeShape::dim, 5, false)},
      {"E25", "/layers/1", cache_only([](Cache& c) {
         TapeShape ring;
         ring.length = 7;
         each_layer(c, [](LayerCache& l) { l.layout = Layout::kRing; });
         c.layers[1].value = sound_layer(ring, 1).value;
       })},
      {"E26", "/layers", shaped(&TapeShape::key_heads, 1, true)},
      {"E39", "/layers/1/key", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) {
           for (Tensor* t : {&*l.key, &*l.value}) t->dtype = DType::kI32;
         });
       })},
      {"W12", "/layers/1",
       cache_only([](Cache& c) { c.layers[1] = {.layer_index = 1}; })},
  };
}

std::vector<RuleSample> mark_samples() {
  return {
      {"E27", "/layers/1/index", cache_only([](Cache& c) {
         c.layers[1].index = as_floats(*c.layers[1].index);
       })},
      {"E28", "/layers/1/starts",
       cache_only([](Cache& c) { c.layers[1].starts = row_vector(3, 1); })},
      {"E29", "/layers/1/index", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.index = row_vector(2, 9); });
       })},
      {"E30", "/layers/1/index", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.index = row_vector(2, -1); });
       })},
      {"E31", "/layers/1/starts", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.starts = row_vector(2, -1); });
       })},
      {"E32", "/layers/1/starts", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.starts = row_vector(2, 6); });
       })},
      {"E33", "/layers/1/index",
       cache_only([](Cache& c) { c.layers[1].index = row_vector(2, 4); })},
      {"E36", "/layers/1/slot_position", cache_only([](Cache& c) {
         c.layers[1].slot_position = int_tensor(
             {axis(AxisKind::kBatch, 2), axis(AxisKind::kPosition, 3)},
             std::vector<std::int32_t>(6, -1));
       })},
      {"W13", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].index.reset(); })},
      {"W14", "/layers/1/index", cache_only([](Cache& c) {
         c.layers[1].index =
             make_tensor(DType::kI64, row_axis(2),
                         bytes_of(std::vector<std::int64_t>{5, 5}));
       })},
      {"W15", "/layers/1/index", growing([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.index = row_vector(2, 4); });
       })},
      {"W16", "/layers/1/starts",
       cache_only([](Cache& c) { c.layers[1].starts = row_vector(2, 0); })},
  };
}

Tensor half_tensor(const Tensor& like) {
  return make_tensor(
      DType::kF16, like.axes,
      std::vector<std::byte>(static_cast<std::size_t>(element_count(like)) * 2,
                             std::byte{1}));
}

std::vector<RuleSample> agreement_samples() {
  return {
      {"E34", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].layer_index = 0; })},
      {"E35", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].window = -1; })},
      {"W17", "/layers/1/key", cache_only([](Cache& c) {
         c.layers[1].key = half_tensor(*c.layers[1].key);
         c.layers[1].value = half_tensor(*c.layers[1].value);
       })},
      {"W18", "/layers/1/key", cache_only([](Cache& c) {
         std::swap(c.layers[1].key->axes[1], c.layers[1].key->axes[2]);
       })},
      {"W19", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].layout = Layout::kRing; })},
      {"W20", "/layers/1", cache_only([](Cache& c) {
         each_layer(c, [](LayerCache& l) { l.value = half_tensor(*l.value); });
       })},
      {"W22", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].layer_index = 7; })},
      {"W23", "/layers/1", cache_only([](Cache& c) {
         c.metadata.sequence_length = 16;  // of which 8 slots are kept
         each_layer(c, [](LayerCache& l) { l.layout = Layout::kRing; });
         c.layers[1].window = 9;
       })},
      {"W24", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].frozen = true; })},
  };
}

std::vector<RuleSample> mask_samples() {
  return {
      {"E37", "/attention_mask", cache_only([](Cache& c) {
         c.attention_mask = int_tensor(
             {axis(AxisKind::kBatch, 3), axis(AxisKind::kPosition, 8)},
             std::vector<std::int32_t>(24, 1));
       })},
      {"E38", "/tokens",
       cache_only([](Cache& c) { c.tokens = row_vector(3, 1); })},
      {"W25", "/attention_mask", cache_only([](Cache& c) {
         c.attention_mask = int_tensor(
             {axis(AxisKind::kBatch, 2), axis(AxisKind::kPosition, 7)},
             std::vector<std::int32_t>(14, 1));
       })},
  };
}

std::vector<RuleSample> attention_samples() {
  return {
      {"E40", "/attention",
       cache_only([](Cache& c) { c.attention.query_heads = 5; })},
      {"E41", "/layers/1",
       cache_only([](Cache& c) { c.layers[1].attention.softmax_scale = 0; })},
      {"E42", "/attention",
       cache_only([](Cache& c) { c.attention.logit_softcap = -50; })},
      {"E43", "/rotary", cache_only([](Cache& c) { c.rotary.dims = 3; })},
      {"E44", "/rotary",
       cache_only([](Cache& c) { c.rotary.theta = kInfinity; })},
      {"E45", "/rotary", cache_only([](Cache& c) {
         c.rotary.inv_freq = std::vector<double>{1.0, 0.5};
       })},
      {"W26", "/layers/1", cache_only([](Cache& c) {
         c.attention.visibility = Visibility::kRange;
         c.layers[1].window = 4;
       })},
      {"W27", "/rotary",
       cache_only([](Cache& c) { c.rotary.keys_rotated = false; })},
  };
}

std::vector<RuleSample> trace_samples() {
  return {
      {"E46", "/trace/step_lengths", spoiled([](Tape& t) {
         t.trace->step_lengths =
             int_tensor({axis(AxisKind::kToken, 3)}, {3, 1, 0});
       })},
      {"E47", "/trace/layers/1/query", spoiled([](Tape& t) {
         t.trace->layers[1].query = trace_tensor({2, 2, 4, 6}, 1);
       })},
      {"E48", "/trace/layers/1/output", spoiled([](Tape& t) {
         t.trace->layers[1].output = trace_tensor({2, 3, 2, 6}, 1);
       })},
      {"E49", "/trace/layers/3",
       spoiled([](Tape& t) { t.trace->layers[3] = t.trace->layers[1]; })},
      {"E50", "/trace/layers/1",
       spoiled([](Tape& t) { t.trace->layers[1].key.reset(); })},
      {"E51", "/trace/start_index", spoiled([](Tape& t) {
         t.trace->keys_in = Trace::KeysIn::kCache;
         t.trace->start_index = row_vector(2, 3);
         t.final_state.reset();
       })},
      {"E52", "/trace/attention_mask", spoiled([](Tape& t) {
         t.trace->attention_mask = mask_tensor({2, 3, 5});
       })},
      {"E53", "/trace/positions", spoiled([](Tape& t) {
         t.trace->positions = mask_tensor({2, 2});
       })},
      {"E54", "/trace/layers/1", spoiled([](Tape& t) {
         t.cache.attention.visibility = Visibility::kMask;
       })},
      {"E55", "/final/layers/1/key", spoiled([](Tape& t) {
         t.final_state->layers[1].key = cache_tensor({2, 7, 2, 6}, 1, 7, 3);
       })},
      {"W28", "/trace/layers/1",
       spoiled([](Tape& t) { t.trace->layers[1].output.reset(); })},
      {"W29", "/trace", spoiled([](Tape& t) {
         t.trace->keys_in = Trace::KeysIn::kCache;
         t.final_state.reset();
       })},
      {"W30", "/trace/layers/1/key", spoiled([](Tape& t) {
         t.trace->layers[1].key = half_tensor(*t.trace->layers[1].key);
       })},
      {"W31", "/trace/layers/1",
       [] {
         TapeShape shape;
         shape.filled = 7;
         return sound_tape(shape);
       }},
      {"W32", "/final/layers/1/index", spoiled([](Tape& t) {
         t.final_state->layers[1].index = row_vector(2, 7);
       })},
      {"E58", "/trace/operations/4", spoiled([](Tape& t) {
         t.trace->operations[4].kind = OperationKind::kFreeze;
         t.trace->operations[4].layer = 7;
       })},
  };
}

std::vector<RuleSample> quantized_samples() {
  using Scheme = Quantization::Scheme;
  return {
      {"E56", "/layers/1/key",
       quantized(Scheme::kInt8,
                 [](std::int64_t, Quantization& q) { --q.scale_count; })},
      {"E57", "/layers/1/key",
       quantized(Scheme::kNF4,
                 [](std::int64_t, Quantization& q) { ++q.payload_count; })},
      {"W21", "/layers/1",
       [] {
         Tape tape =
             quantized(Scheme::kInt8, [](std::int64_t, Quantization&) {})();
         for (auto& [number, layer] : tape.cache.layers)
           layer.value = sound_layer({}, number).value;
         return tape;
       }},
      {"W33", "/layers/1/key",
       quantized(
           Scheme::kInt8,
           [](std::int64_t, Quantization& q) { q.scale_dtype = DType::kF16; })},
      {"W34", "/layers/1/key",
       quantized(Scheme::kNF4,
                 [](std::int64_t, Quantization& q) {
                   q.block_size = 12;
                   q.scale_count /= 2;
                 })},
  };
}

}  // namespace

const std::vector<RuleSample>& structure_samples() {
  static const std::vector<RuleSample> samples = [] {
    std::vector<RuleSample> all;
    for (const auto& part :
         {metadata_samples(), layer_samples(), mark_samples(),
          agreement_samples(), mask_samples(), attention_samples(),
          trace_samples(), quantized_samples()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return samples;
}

}  // namespace kvtape::test
