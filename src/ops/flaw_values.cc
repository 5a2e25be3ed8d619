// Faults in keys and values.
#include <algorithm>
#include <functional>
#include <utility>

#include "kvtape/error.h"
#include "ops/flaw_edit.h"
#include "ops/flaw_plants.h"
#include "ops/sample_source.h"

namespace kvtape {
namespace {

// The layers of a stack share one source.
void replace(Tape& tape, const Tensor& before, const Tensor& after) {
  const auto source = before.source;
  for (auto& [number, layer] : tape.cache.layers)
    for (std::optional<Tensor>* tensor : {&layer.key, &layer.value})
      if (*tensor && (*tensor)->source == source)
        (*tensor)->source = after.source;
}

std::vector<std::int64_t> all_live_slots(const LayerCache& layer) {
  const std::int64_t slots = extent(*layer.key, AxisKind::kPosition);
  const std::int64_t index = integers(*layer.index).at(0);
  const std::int64_t starts = layer.starts ? integers(*layer.starts).at(0) : 0;
  const Layout layout = layer.layout.value_or(Layout::kLinear);
  std::vector<std::pair<std::int64_t, std::int64_t>> found;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const std::int64_t position = position_in_slot(layout, slots, index, slot);
    if (position >= starts) found.emplace_back(position, slot);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::int64_t> result;
  for (const auto& [position, slot] : found) result.push_back(slot);
  return result;
}

// Changes keys or values of the damaged layer in memory.
using Change = std::function<void(TensorEdit&, const TensorEdit& before)>;
void change(Tape& tape, std::optional<Tensor> LayerCache::*what,
            const Change& apply) {
  LayerCache& layer = damaged_layer(tape);
  const Tensor before = plain(layer.*what);
  TensorEdit edit(before);
  apply(edit, TensorEdit(before));
  replace(tape, before, edit.done());
}

std::int64_t middle_slot(Tape& tape) {
  const auto slots = live_slots(damaged_layer(tape), 1);
  return slots[slots.size() / 2];
}

void set_one(Tape& tape, std::optional<Tensor> LayerCache::*what,
             std::uint64_t (*bits)(DType)) {
  const DType dtype = plain(damaged_layer(tape).*what).dtype;
  const std::int64_t slot = middle_slot(tape);
  change(tape, what, [&](TensorEdit& edit, const TensorEdit&) {
    edit.set_bits({.slot = slot, .head = edit.heads() - 1}, bits(dtype));
  });
}

}  // namespace

void refuse_flaw(const std::string& expected, const std::string& found) {
  throw Error({.object = "flaw",
               .field = "tape",
               .expected = expected,
               .found = found});
}

std::vector<Axis> canonical_axes(const Tensor& tensor) {
  std::vector<Axis> axes;
  for (const AxisKind kind :
       {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kToken,
        AxisKind::kHead, AxisKind::kDim})
    for (const Axis& axis : tensor.axes)
      if (axis.kind == kind) axes.push_back(axis);
  return axes;
}

LayerCache& damaged_layer(Tape& tape) {
  if (tape.cache.layers.empty()) refuse_flaw("a layer", "none");
  auto layer = tape.cache.layers.begin();
  std::advance(layer, tape.cache.layers.size() / 2);
  if (!layer->second.key || !layer->second.value || !layer->second.index)
    refuse_flaw("a layer with key, value and index",
                "layer " + std::to_string(layer->first));
  return layer->second;
}

LayerTrace& damaged_trace(Tape& tape) {
  if (!tape.trace || tape.trace->layers.empty()) refuse_flaw("a trace", "none");
  auto layer = tape.trace->layers.begin();
  std::advance(layer, tape.trace->layers.size() / 2);
  return layer->second;
}

const Tensor& plain(const std::optional<Tensor>& tensor) {
  if (!tensor) refuse_flaw("a recorded tensor", "none");
  if (tensor->quantized()) refuse_flaw("plain numbers", "a quantized layer");
  return *tensor;
}

std::vector<std::int64_t> live_slots(const LayerCache& layer,
                                     std::size_t at_least) {
  auto slots = all_live_slots(layer);
  if (slots.size() < at_least)
    refuse_flaw(std::to_string(at_least) + " written slots in row 0",
                std::to_string(slots.size()));
  return slots;
}

void plant_nan(Tape& tape) { set_one(tape, &LayerCache::key, nan_bits); }
void plant_inf(Tape& tape) { set_one(tape, &LayerCache::value, infinity_bits); }

void plant_zero(Tape& tape) {
  const std::int64_t slot = middle_slot(tape);
  for (auto what : {&LayerCache::key, &LayerCache::value})
    change(tape, what, [&](TensorEdit& edit, const TensorEdit&) {
      for (std::int64_t head = 0; head < edit.heads(); ++head)
        edit.clear({.slot = slot, .head = head});
    });
}

void plant_repeat(Tape& tape) {
  const auto slots = live_slots(damaged_layer(tape), 2);
  const std::int64_t to = slots[slots.size() / 2];
  const std::int64_t from = slots[slots.size() / 2 - 1];
  for (auto what : {&LayerCache::key, &LayerCache::value})
    change(tape, what, [&](TensorEdit& edit, const TensorEdit& before) {
      for (std::int64_t head = 0; head < edit.heads(); ++head)
        edit.copy(before, {.slot = from, .head = head},
                  {.slot = to, .head = head});
    });
}

void plant_stale(Tape& tape) {
  const LayerCache& layer = damaged_layer(tape);
  const auto slots = live_slots(layer, 1);
  const std::int64_t index = integers(*layer.index).at(0);
  if (layer.layout.value_or(Layout::kLinear) != Layout::kLinear ||
      index >= extent(*layer.key, AxisKind::kPosition))
    refuse_flaw("a linear layout with room behind row 0", "none");
  change(tape, &LayerCache::key,
         [&](TensorEdit& edit, const TensorEdit& before) {
           for (std::int64_t head = 0; head < edit.heads(); ++head)
             edit.copy(before, {.slot = slots.front(), .head = head},
                       {.slot = index, .head = head});
         });
}

void plant_shift(Tape& tape) {
  const auto slots = live_slots(damaged_layer(tape), 2);
  change(tape, &LayerCache::key,
         [&](TensorEdit& edit, const TensorEdit& before) {
           for (std::size_t i = 0; i < slots.size(); ++i)
             for (std::int64_t head = 0; head < edit.heads(); ++head)
               edit.copy(before,
                         {.slot = slots[i == 0 ? slots.size() - 1 : i - 1],
                          .head = head},
                         {.slot = slots[i], .head = head});
         });
}

void plant_head_swap(Tape& tape) {
  const auto slots = live_slots(damaged_layer(tape), 1);
  if (extent(*damaged_layer(tape).key, AxisKind::kHead) < 2)
    refuse_flaw("at least two key heads", "one");
  change(tape, &LayerCache::key,
         [&](TensorEdit& edit, const TensorEdit& before) {
           for (const std::int64_t slot : slots)
             for (const std::int64_t head : {0, 1})
               edit.copy(before, {.slot = slot, .head = 1 - head},
                         {.slot = slot, .head = head});
         });
}

// The value of a layer without its last position.
void plant_shape(Tape& tape) {
  LayerCache& layer = damaged_layer(tape);
  const Tensor before = plain(layer.value);
  if (before.layer) refuse_flaw("layers of their own", "a stack");
  Box box;
  std::int64_t bytes = bytes_per_element(before.dtype);
  Tensor after = before;
  for (Axis& axis : after.axes) {
    if (axis.kind == AxisKind::kPosition) --axis.size;
    if (axis.size < 1) refuse_flaw("at least two positions", "one");
    box.first.push_back(0);
    box.count.push_back(axis.size);
    bytes *= axis.size;
  }
  std::vector<std::byte> kept(static_cast<std::size_t>(bytes));
  before.source->read(box, kept);
  layer.value = make_tensor(after.dtype, after.axes, std::move(kept));
}

// The same keys in f64, which no other layer has; as f32 where all are f64.
void plant_dtype(Tape& tape) {
  LayerCache& layer = damaged_layer(tape);
  const Tensor before = plain(layer.key);
  if (before.layer) refuse_flaw("layers of their own", "a stack");
  if (tape.cache.layers.size() < 2) refuse_flaw("at least two layers", "one");
  const std::vector<Axis> axes = canonical_axes(before);
  const std::vector<double> numbers = doubles(before);
  if (before.dtype == DType::kF64)
    layer.key = make_tensor(
        DType::kF32, axes,
        bytes_of(std::vector<float>(numbers.begin(), numbers.end())));
  else
    layer.key = make_tensor(DType::kF64, axes, bytes_of(numbers));
}

void plant_final(Tape& tape) {
  if (!tape.final_state || tape.final_state->layers.empty())
    refuse_flaw("a recorded final state", "none");
  std::optional<Tensor>& key = tape.final_state->layers.rbegin()->second.key;
  TensorEdit edit(plain(key));
  if (extent(*key, AxisKind::kPosition) < 2)
    refuse_flaw("at least two positions", "one");
  edit.copy(edit, {.slot = 1}, {.slot = 0});
  const Tensor before = *key;
  for (auto& [number, layer] : tape.final_state->layers)
    if (layer.key && layer.key->source == before.source)
      layer.key->source = edit.done().source;
}

}  // namespace kvtape
