// The flaws of samples: faults in what a tape says, and the list of all.
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "kvtape/error.h"
#include "kvtape/sample.h"
#include "ops/flaw_plants.h"

namespace kvtape {
namespace {

void add_to_index(LayerCache& layer, std::int64_t row, std::int64_t amount) {
  const Tensor before = *layer.index;
  const auto numbers = integers(before);
  std::vector<std::int32_t> changed(numbers.begin(), numbers.end());
  changed.at(static_cast<std::size_t>(row)) +=
      static_cast<std::int32_t>(amount);
  layer.index = make_tensor(DType::kI32, before.axes, bytes_of(changed));
}

void plant_clamp(Tape& tape) {
  LayerCache& layer = damaged_layer(tape);
  add_to_index(
      layer, 0,
      tape.cache.metadata.sequence_length + 1 - integers(*layer.index).at(0));
}

void plant_index(Tape& tape) {
  LayerCache& layer = damaged_layer(tape);
  damaged_trace(tape);
  live_slots(layer, 2);
  add_to_index(layer, 0, -1);
}

void plant_starts(Tape& tape) {
  LayerCache& layer = damaged_layer(tape);
  const auto index = integers(*layer.index);
  std::vector<std::int32_t> starts(index.begin(), index.end());
  for (std::int32_t& start : starts) ++start;
  layer.starts = make_tensor(DType::kI32, layer.index->axes, bytes_of(starts));
}

void plant_heads(Tape& tape) {
  const auto heads = extent(plain(damaged_layer(tape).key), AxisKind::kHead);
  if (heads < 2) refuse_flaw("at least two key heads", "one");
  tape.cache.attention.query_heads = 2 * heads + 1;
}

void plant_scale(Tape& tape) {
  damaged_trace(tape);
  const std::optional<double>& scale = tape.cache.attention.softmax_scale;
  if (!scale) refuse_flaw("a recorded softmax_scale", "none");
  tape.cache.attention.softmax_scale = *scale * 2;
}

void plant_window(Tape& tape) {
  damaged_trace(tape);
  LayerCache& layer = damaged_layer(tape);
  if (tape.cache.attention.visibility.value_or(Visibility::kCausal) !=
      Visibility::kCausal)
    refuse_flaw("causal visibility", "another");
  const auto slots = live_slots(layer, 4);
  const auto half = static_cast<std::int64_t>(slots.size() / 2);
  layer.window = layer.window == half ? half - 1 : half;
}

void plant_rotary(Tape& tape) {
  RotarySpec& rotary = tape.cache.rotary;
  if (rotary.style.value_or(RotaryStyle::kNone) == RotaryStyle::kNone)
    refuse_flaw("rotary embedding", "none");
  damaged_trace(tape);
  rotary.keys_rotated = !rotary.keys_rotated.value_or(true);
}

Tensor int32_copy(const Tensor& tensor, const std::vector<std::int64_t>& now) {
  return make_tensor(
      DType::kI32, tensor.axes,
      bytes_of(std::vector<std::int32_t>(now.begin(), now.end())));
}

// Hides `slot` of row 0 from every token of a recorded mask.
void hide_in_trace(Tensor& mask, std::int64_t slot) {
  auto numbers = integers(mask);
  const std::int64_t slots = extent(mask, AxisKind::kPosition);
  const std::int64_t tokens = extent(mask, AxisKind::kToken);
  for (std::int64_t token = 0; token < tokens; ++token)
    numbers.at(static_cast<std::size_t>(token * slots + slot)) = 0;
  mask = int32_copy(mask, numbers);
}

// Hides it by /attention_mask, which is made where there is none.
void hide_in_cache(Cache& cache, const LayerCache& layer, std::int64_t slot) {
  if (!cache.attention_mask) {
    const std::vector<Axis> axes{
        {AxisKind::kBatch, "batch", extent(*layer.key, AxisKind::kBatch)},
        {AxisKind::kPosition, "position",
         extent(*layer.key, AxisKind::kPosition)}};
    const auto count = static_cast<std::size_t>(axes[0].size * axes[1].size);
    cache.attention_mask = make_tensor(
        DType::kI32, axes, bytes_of(std::vector<std::int32_t>(count, 1)));
  }
  auto numbers = integers(*cache.attention_mask);
  numbers.at(static_cast<std::size_t>(slot)) = 0;
  cache.attention_mask = int32_copy(*cache.attention_mask, numbers);
}

void plant_mask(Tape& tape) {
  damaged_trace(tape);
  const LayerCache& layer = damaged_layer(tape);
  const auto slots = live_slots(layer, 2);
  const std::int64_t slot = slots[slots.size() - 2];
  if (tape.trace->attention_mask)
    return hide_in_trace(*tape.trace->attention_mask, slot);
  if (tape.cache.attention.visibility == Visibility::kRange)
    refuse_flaw("causal or mask visibility", "range");
  hide_in_cache(tape.cache, layer, slot);
}

// From 2^-22 of a value at the first step to a quarter at the last one.
double drift_at(std::size_t step, std::size_t steps) {
  const auto last = static_cast<int>(steps) - 1;
  const int back = last - static_cast<int>(step);
  return std::ldexp(1.0, -2 - (last == 0 ? 0 : 20 * back / last));
}

void plant_drift(Tape& tape) {
  LayerTrace& trace = damaged_trace(tape);
  const Tensor before = plain(trace.output);
  const auto lengths = integers(*tape.trace->step_lengths);
  std::vector<double> drift;  // [token]
  for (std::size_t step = 0; step < lengths.size(); ++step)
    drift.insert(drift.end(), static_cast<std::size_t>(lengths[step]),
                 1.0 + drift_at(step, lengths.size()));
  const std::vector<double> numbers = doubles(before);
  const auto per_token = static_cast<std::size_t>(
      extent(before, AxisKind::kHead) * extent(before, AxisKind::kDim));
  std::vector<float> drifted;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    drifted.push_back(static_cast<float>(
        numbers[i] * drift.at(i / per_token % drift.size())));
  trace.output =
      make_tensor(DType::kF32, canonical_axes(before), bytes_of(drifted));
}

void leave(Tape&) {}  // "cut" is done to the file

struct Planting {
  std::string_view name;
  std::string_view what;
  std::string_view found_by;
  void (*plant)(Tape&);
};
constexpr auto kPlantings = std::to_array<Planting>({
    {"nan", "a NaN in a written key", "validate --values", plant_nan},
    {"inf", "an infinity in a written value", "validate --values", plant_inf},
    {"zero", "a slot counted as filled that was never written",
     "validate --values", plant_zero},
    {"repeat", "a slot that repeats the one before it", "validate --values",
     plant_repeat},
    {"stale", "data left in a slot beyond the index",
     "validate --values --strict", plant_stale},
    {"shape", "a value tensor that is one position short", "validate",
     plant_shape},
    {"dtype", "the keys of one layer in another dtype", "validate --strict",
     plant_dtype},
    {"heads", "query heads that the key heads do not divide", "validate",
     plant_heads},
    {"starts", "rows that start behind their end", "validate", plant_starts},
    {"clamp", "an index beyond the sequence length", "validate", plant_clamp},
    {"index", "the index of a row one too small", "replay", plant_index},
    {"shift", "the keys of a layer moved by one slot", "replay", plant_shift},
    {"head-swap", "two key heads of a layer exchanged", "replay",
     plant_head_swap},
    {"scale", "twice the softmax scale", "replay", plant_scale},
    {"window", "a window that the model did not have", "replay", plant_window},
    {"rotary", "keys said to be rotated that are not, or the reverse", "replay",
     plant_rotary},
    {"mask", "a written slot hidden by a mask", "replay", plant_mask},
    {"drift", "an error of the outputs that grows with the steps", "replay",
     plant_drift},
    {"final", "a recorded final key that the steps do not give", "replay",
     plant_final},
    {"cut", "the file cut short", "any command", leave},
});

constexpr std::array<Flaw, kPlantings.size()> kFlaws = [] {
  std::array<Flaw, kPlantings.size()> list{};
  for (std::size_t i = 0; i < list.size(); ++i)
    list[i] = {kPlantings[i].name, kPlantings[i].what, kPlantings[i].found_by};
  return list;
}();

}  // namespace

std::span<const Flaw> flaws() { return kFlaws; }

void plant_flaw(Tape& tape, std::string_view name) {
  std::string known;
  for (const Planting& planting : kPlantings) {
    if (planting.name == name) return planting.plant(tape);
    known.append(" ").append(planting.name);
  }
  throw Error({.field = "flaw",
               .expected = "one of" + known,
               .found = std::string(name)});
}

}  // namespace kvtape
