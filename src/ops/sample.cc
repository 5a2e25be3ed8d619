// Caches and traces made up from a seed.
#include "kvtape/sample.h"

#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "core/slab.h"
#include "kvtape/replay.h"
#include "kvtape/version.h"
#include "ops/sample_plan.h"
#include "ops/sample_source.h"
#include "systems/quantize.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using Integers = std::vector<std::int64_t>;

Tensor int32_tensor(std::vector<Axis> axes, const Integers& numbers) {
  const std::vector<std::int32_t> narrow(numbers.begin(), numbers.end());
  std::vector<std::byte> bytes(narrow.size() * sizeof(std::int32_t));
  if (!bytes.empty()) std::memcpy(bytes.data(), narrow.data(), bytes.size());
  return make_tensor(DType::kI32, std::move(axes), std::move(bytes));
}

Axis batch_axis(const SamplePlan& plan) {
  return {AxisKind::kBatch, "batch", plan.rows};
}

// Positions filled after `done` tokens of the trace.
Integers index_after(const SamplePlan& plan, std::int64_t done) {
  Integers index = plan.first;
  for (std::int64_t& position : index) position += done;
  return index;
}

CacheMetadata metadata_of(const SampleOptions& o, const SamplePlan& plan) {
  CacheMetadata m{.batch_size = plan.rows,
                  .sequence_length = o.sequence_length,
                  .num_hidden_layers = o.layers,
                  .pad_token_id = 0,
                  .key_heads = o.key_heads,
                  .value_heads = plan.value_heads,
                  .key_dim = o.key_dim,
                  .value_dim = o.value_dim};
  if (o.key_heads == plan.value_heads) m.num_heads = o.key_heads;
  if (o.key_dim == o.value_dim) m.head_dim = o.key_dim;
  return m;
}

AttentionSpec attention_of(const SampleOptions& o) {
  return {.query_heads = o.query_heads,
          .softmax_scale = 1.0 / std::sqrt(static_cast<double>(o.key_dim)),
          .logit_softcap = o.logit_softcap,
          .head_map = o.head_map,
          .visibility = o.visibility,
          .masked_rows = o.masked_rows};
}

RotarySpec rotary_of(const SampleOptions& o) {
  const bool rotated = o.rotary == RotaryStyle::kNone;
  RotarySpec spec{
      .keys_rotated = rotated, .queries_rotated = rotated, .style = o.rotary};
  if (rotated) return spec;
  spec.theta = 10000.0;
  spec.dims = o.key_dim / 2 * 2;
  return spec;
}

// Keys or values of all layers (stacked) or of one, once `done` tokens of the
// trace are stored.
Tensor cache_tensor(const SampleOptions& o, const SamplePlan& plan,
                    SampleKind kind, std::int64_t layer, std::int64_t done) {
  const bool key = kind == SampleKind::kKey;
  SampleArray array{.seed = o.seed,
                    .kind = kind,
                    .dtype = o.dtype,
                    .axes = sample_axes(o, plan, plan.slots(o, done),
                                        key ? o.key_heads : plan.value_heads,
                                        key ? o.key_dim : o.value_dim),
                    .layer = o.stacked ? 0 : layer,
                    .layers = o.stacked ? o.layers : 1,
                    .layout = o.layout,
                    .index = index_after(plan, done),
                    .starts = plan.blank ? plan.starts : Integers{}};
  Tensor tensor{.dtype = o.dtype, .axes = array.axes};
  if (o.stacked) tensor.layer = layer;
  tensor.source = sample_source(std::move(array));
  if (o.quantization == Quantization::Scheme::kNone) return tensor;
  return quantized(tensor, o.quantization, o.block_size);
}

LayerCache layer_cache(const SampleOptions& o, const SamplePlan& plan,
                       std::int64_t number, std::int64_t done) {
  LayerCache layer;
  layer.key = cache_tensor(o, plan, SampleKind::kKey, number, done);
  layer.value = cache_tensor(o, plan, SampleKind::kValue, number, done);
  layer.index = int32_tensor({batch_axis(plan)}, index_after(plan, done));
  if (o.layout != Layout::kGrowing)  // TransformerLens has none
    layer.starts = int32_tensor({batch_axis(plan)}, plan.starts);
  layer.layer_index = number;
  layer.window = o.window;
  layer.layout = o.layout;
  return layer;
}

// The layers of a stack share one source, so that they are written once.
std::map<std::int64_t, LayerCache> layers_of(const SampleOptions& o,
                                             const SamplePlan& plan,
                                             std::int64_t done) {
  std::map<std::int64_t, LayerCache> layers;
  for (std::int64_t number = 0; number < o.layers; ++number) {
    LayerCache& layer = layers[number];
    layer = layer_cache(o, plan, number, done);
    if (!o.stacked) continue;
    layer.key->source = layers.at(0).key->source;
    layer.value->source = layers.at(0).value->source;
  }
  return layers;
}

// 1 where a position of [0, columns) + first[row] is no padding.
Tensor mask_of(const SampleOptions& o, const SamplePlan& plan,
               const Integers& first, std::int64_t columns, AxisKind kind) {
  Integers mask;
  for (std::int64_t row = 0; row < plan.rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      mask.push_back(
          plan.masked(o, row, first[static_cast<std::size_t>(row)] + column)
              ? 0
              : 1);
  const std::string name = kind == AxisKind::kToken ? "token" : "position";
  return int32_tensor({batch_axis(plan), {kind, name, columns}}, mask);
}

std::optional<Tensor> attention_mask(const SampleOptions& o,
                                     const SamplePlan& plan) {
  const bool rolling = o.layout == Layout::kRing || o.layout == Layout::kShift;
  if (!plan.masks || rolling) return std::nullopt;
  const std::int64_t columns = plan.slots(o, plan.after ? plan.tokens : 0);
  const Integers origin(static_cast<std::size_t>(plan.rows), 0);
  return mask_of(o, plan, origin, columns, AxisKind::kPosition);
}

std::optional<Tensor> token_mask(const SampleOptions& o,
                                 const SamplePlan& plan) {
  if (!plan.masks || o.layout == Layout::kLinear) return std::nullopt;
  return mask_of(o, plan, plan.first, plan.tokens, AxisKind::kToken);
}

// One token's row of the recorded mask: what causal visibility lets it see.
void append_visible(const SampleOptions& o, const SamplePlan& plan,
                    std::int64_t row, std::int64_t token, std::int64_t end,
                    std::vector<std::byte>& mask) {
  const auto r = static_cast<std::size_t>(row);
  const std::int64_t own = plan.first[r] + token;
  const std::int64_t index = plan.first[r] + (plan.after ? plan.tokens : end);
  const std::int64_t slots = plan.slots(o, plan.tokens);
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const std::int64_t position =
        position_in_slot(o.layout, slots, index, slot);
    const bool sees = position >= plan.starts[r] && position <= own &&
                      (o.window == 0 || own - position < o.window) &&
                      !plan.masked(o, row, position);
    mask.push_back(std::byte{sees && position >= 0});
  }
}

Tensor recorded_mask(const SampleOptions& o, const SamplePlan& plan) {
  std::vector<std::byte> mask;
  for (std::int64_t row = 0; row < plan.rows; ++row) {
    std::int64_t end = 0;
    for (std::int64_t length : plan.lengths) {
      end += length;
      for (std::int64_t token = end - length; token < end; ++token)
        append_visible(o, plan, row, token, end, mask);
    }
  }
  return make_tensor(
      DType::kU8,
      {batch_axis(plan),
       {AxisKind::kToken, "token", plan.tokens},
       {AxisKind::kPosition, "position", plan.slots(o, plan.tokens)}},
      std::move(mask));
}

Tensor trace_tensor(const SampleOptions& o, const SamplePlan& plan,
                    SampleKind kind, std::int64_t layer, std::int64_t heads,
                    std::int64_t dims) {
  SampleArray array{.seed = o.seed,
                    .kind = kind,
                    .dtype = o.dtype,
                    .axes = {batch_axis(plan),
                             {AxisKind::kToken, "token", plan.tokens},
                             {AxisKind::kHead, "head", heads},
                             {AxisKind::kDim, "dim", dims}},
                    .layer = layer,
                    .index = plan.first};
  Tensor tensor{.dtype = o.dtype, .axes = array.axes};
  tensor.source = sample_source(std::move(array));
  return tensor;
}

LayerTrace layer_trace(const SampleOptions& o, const SamplePlan& plan,
                       std::int64_t number) {
  LayerTrace layer;
  layer.query = trace_tensor(o, plan, SampleKind::kQuery, number, o.query_heads,
                             o.key_dim);
  if (o.keys_in_cache) return layer;
  layer.key =
      trace_tensor(o, plan, SampleKind::kKey, number, o.key_heads, o.key_dim);
  layer.value = trace_tensor(o, plan, SampleKind::kValue, number,
                             plan.value_heads, o.value_dim);
  return layer;
}

Trace trace_of(const SampleOptions& o, const SamplePlan& plan) {
  Trace trace;
  trace.keys_in =
      o.keys_in_cache ? Trace::KeysIn::kCache : Trace::KeysIn::kTrace;
  const auto steps = static_cast<std::int64_t>(plan.lengths.size());
  trace.step_lengths =
      int32_tensor({{AxisKind::kBatch, "step", steps}}, plan.lengths);
  if (o.keys_in_cache)
    trace.start_index = int32_tensor({batch_axis(plan)}, plan.first);
  trace.token_mask = token_mask(o, plan);
  if (o.visibility == Visibility::kMask)
    trace.attention_mask = recorded_mask(o, plan);
  for (std::int64_t number = 0; number < o.layers; ++number)
    trace.layers[number] = layer_trace(o, plan, number);
  return trace;
}

// A tape of one layer alone, so that replaying it takes memory for one.
Tape alone(const Tape& tape, std::int64_t number) {
  Tape result = tape;
  result.cache.layers = {{number, tape.cache.layers.at(number)}};
  result.trace->layers = {{number, tape.trace->layers.at(number)}};
  result.final_state.reset();
  return result;
}

Tensor rounded(const Tensor& output, DType dtype) {
  if (dtype == DType::kF64) return output;
  SlabReader reader;
  const std::int64_t tokens = extent(output, AxisKind::kToken);
  const std::int64_t rows = extent(output, AxisKind::kBatch);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(element_count(output)) *
      static_cast<std::size_t>(bytes_per_element(dtype)));
  const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(rows);
  for (std::int64_t row = 0; row < rows; ++row)
    copy_slab(reader.read(output, row, 0, tokens), dtype,
              bytes.data() + static_cast<std::size_t>(row) * row_bytes);
  return make_tensor(dtype, output.axes, std::move(bytes));
}

// Plain numbers are recorded as they were made, not as replay() left them.
std::map<std::int64_t, LayerCache> final_layers(const SampleOptions& o,
                                                const SamplePlan& plan) {
  auto layers = layers_of(o, plan, plan.tokens);
  for (auto& [number, layer] : layers)
    layer = {.key = layer.key, .value = layer.value, .index = layer.index};
  return layers;
}

// What replay() makes of each layer: outputs, and the final state of a
// quantized one, as every step quantizes again.
void record(Tape& tape, const SampleOptions& o, const SamplePlan& plan) {
  const bool plain = o.quantization == Quantization::Scheme::kNone;
  if (o.final_state && !o.keys_in_cache) {
    tape.final_state.emplace();
    if (plain) tape.final_state->layers = final_layers(o, plan);
  }
  for (auto& [number, trace] : tape.trace->layers) {
    const ReplayReport report = replay(alone(tape, number), {.keep = true});
    const Tape& played = report.replayed.value();
    trace.output =
        rounded(played.trace->layers.at(number).output.value(), o.dtype);
    if (!tape.final_state || plain) continue;
    const LayerCache& last = played.final_state->layers.at(number);
    tape.final_state->layers[number] = {
        .key = last.key, .value = last.value, .index = last.index};
  }
}

}  // namespace

Tape make_sample(const SampleOptions& options) {
  const SamplePlan plan = sample_plan(options);
  Tape tape;
  tape.source = "kvtape";
  tape.producer = std::string("kvtape ") + kVersion;
  tape.model = "sample";
  tape.cache.metadata = metadata_of(options, plan);
  tape.cache.attention = attention_of(options);
  tape.cache.rotary = rotary_of(options);
  tape.cache.attention_mask = attention_mask(options, plan);
  tape.cache.layers = layers_of(options, plan, plan.after ? plan.tokens : 0);
  if (plan.tokens == 0) return tape;
  tape.trace = trace_of(options, plan);
  record(tape, options, plan);
  return tape;
}

}  // namespace kvtape
