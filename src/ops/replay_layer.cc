// Replays one layer: stores each step, attends, compares.
#include "ops/replay_layer.h"

#include <algorithm>
#include <optional>

#include "ops/compare_outputs.h"
#include "ops/final_state.h"
#include "ops/kept_layer.h"
#include "ops/quantized_rows.h"
#include "ops/refused_write.h"
#include "ops/row_state.h"
#include "ops/visibility.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

// Steps are joined up to so many tokens: attention then reads the cache once
// for all of them.
constexpr std::int64_t kJoinedTokens = 64;
// Bytes of queries and outputs, and of masks, that one call of attend() takes.
constexpr std::int64_t kCallBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaskBytes = std::int64_t{64} << 20;
// Pages read from a source that cannot be addressed are kept up to here.
constexpr std::int64_t kCleanBytes = std::int64_t{256} << 20;

struct Layer {
  ReplayRun& run;
  const ReplayProblem& p;
  std::size_t layer_row = 0;
  std::int64_t last_step = 0;            // of those that are replayed at all
  std::vector<std::int64_t> step_token;  // [step]: its first token; and the end
  std::optional<Rotation> rotation;
  KeptLayer* kept = nullptr;
  FinalLayer* final_layer = nullptr;

  const Rotation* rotary() const { return rotation ? &*rotation : nullptr; }
};

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

bool compared(const Layer& layer, std::int64_t step) {
  return step >= layer.run.first_step && step < layer.run.last_step;
}

bool computed(const Layer& layer, std::int64_t step) {
  return layer.kept != nullptr || compared(layer, step);
}

std::int64_t step_of(const Layer& layer, std::int64_t token) {
  const auto& first = layer.step_token;
  return std::upper_bound(first.begin(), first.end(), token) - first.begin() -
         1;
}

// ---- attention

std::int64_t tokens_per_call(const ReplayProblem& p, std::int64_t slots) {
  const std::int64_t bytes = p.attention.query_heads *
                             (p.key_dim + p.value_dim) *
                             static_cast<std::int64_t>(sizeof(float));
  return std::clamp<std::int64_t>(
      std::min(kCallBytes / bytes,
               kMaskBytes / std::max<std::int64_t>(slots, 1)),
      1, 1024);
}

std::vector<float> queries(const Layer& layer, const RowState& state,
                           std::span<const Standing> tokens) {
  const ReplayProblem& p = layer.p;
  const std::int64_t floats = p.attention.query_heads * p.key_dim;
  const auto count = static_cast<std::int64_t>(tokens.size());
  std::vector<float> result(at(count * floats));
  SlabReader reader;
  copy_slab(
      reader.read(*p.layer->query, state.row, tokens.front().token, count),
      DType::kF32, reinterpret_cast<std::byte*>(result.data()));
  if (!p.rotate_queries) return result;
  std::vector<std::int64_t> positions;
  for (const Standing& token : tokens) positions.push_back(token.rotary);
  layer.rotation->apply(positions, p.attention.query_heads, p.key_dim,
                        result.data());
  return result;
}

// The slots whose pages attention needs.
VisibleSlots needed_slots(const ReplayProblem& p, const Sight& sight,
                          std::int64_t slots) {
  VisibleSlots needed{.first = slots, .last = 0};
  const bool uniform = p.attention.masked_rows == MaskedRows::kUniform;
  for (const VisibleSlots& token : sight.tokens) {
    if (!sees_nothing(token)) {
      needed.first = std::min(needed.first, token.first);
      needed.last = std::max(needed.last, token.last);
    } else if (uniform) {
      return {.first = 0, .last = slots};
    }
  }
  return needed;
}

void drop_pages(const VisibleSlots& needed, RowState& state) {
  if (state.key.clean_bytes() + state.value.clean_bytes() <= kCleanBytes)
    return;
  const std::int64_t first = needed.first / kernels::kSpan;
  const std::int64_t last = (needed.last + kernels::kSpan - 1) / kernels::kSpan;
  state.key.drop_outside(state.rotated ? last : first, last);
  state.value.drop_outside(first, last);
}

std::vector<float> attention_of(const Layer& layer, RowState& state,
                                std::span<const Standing> tokens) {
  const ReplayProblem& p = layer.p;
  const std::vector<float> query = queries(layer, state, tokens);
  const Sight sight = visible_slots(p, state.slots, state.row, tokens);
  const std::int64_t slots = state.slots.count();
  const VisibleSlots needed = needed_slots(p, sight, slots);
  const std::vector<Page> pages = pages_of(state, needed.first, needed.last);
  std::vector<float> output(tokens.size() *
                            at(p.attention.query_heads * p.value_dim));
  attend({.pages = pages,
          .slots = slots,
          .attention = p.attention,
          .key_heads = p.key_heads,
          .value_heads = p.value_heads,
          .key_dim = p.key_dim,
          .value_dim = p.value_dim,
          .query = query.data(),
          .tokens = sight.tokens,
          .output = output.data()},
         *layer.run.kernels, *layer.run.pool);
  drop_pages(needed, state);
  return output;
}

// ---- outputs

void compare(const Layer& layer, const RowState& state,
             std::span<const Standing> tokens,
             const std::vector<float>& outputs) {
  const ReplayProblem& p = layer.p;
  if (!p.layer->output) return;
  SlabReader reader;
  const auto count = static_cast<std::int64_t>(tokens.size());
  const SlabView expected =
      reader.read(*p.layer->output, state.row, tokens.front().token, count);
  const std::int64_t floats = p.attention.query_heads * p.value_dim;
  for (std::int64_t i = 0; i < count; ++i) {
    const Standing& token = tokens[at(i)];
    const std::int64_t step = step_of(layer, token.token);
    if (!compared(layer, step)) continue;
    compare_token({.where = {.step = step,
                             .token = token.token,
                             .position = token.position,
                             .layer = p.number,
                             .row = state.row},
                   .actual = outputs.data() + i * floats,
                   .expected = cut(expected, i, 1)},
                  at(step - layer.run.first_step), layer.layer_row,
                  *layer.run.report);
  }
}

// Where the last token of each step stands in row 0.
void note_positions(const Layer& layer, std::span<const Standing> tokens) {
  ReplayReport& report = *layer.run.report;
  for (const Standing& token : tokens) {
    const std::int64_t step = step_of(layer, token.token);
    if (!compared(layer, step)) continue;
    report.by_layer[layer.layer_row].position = token.position;
    if (layer.layer_row == 0)
      report.by_step[at(step - layer.run.first_step)].position = token.position;
  }
}

void attend_and_compare(const Layer& layer, RowState& state,
                        std::span<const Standing> tokens) {
  const auto most = at(tokens_per_call(layer.p, state.slots.count()));
  if (state.row == 0) note_positions(layer, tokens);
  while (!tokens.empty()) {
    const auto part = tokens.first(std::min(most, tokens.size()));
    const std::vector<float> outputs = attention_of(layer, state, part);
    compare(layer, state, part, outputs);
    if (layer.kept != nullptr)
      keep_outputs(layer.p, state.row, part.front().token, outputs,
                   *layer.kept);
    tokens = tokens.subspan(part.size());
  }
}

// ---- steps

void count_done(const Layer& layer, std::int64_t tokens) {
  layer.run.done += tokens;
  if (layer.run.options->progress)
    layer.run.options->progress(layer.run.done, layer.run.total);
}

// Whether later steps may be stored before this one attends.
bool can_join(const ReplayProblem& p, const RowState& state) {
  if (p.in_cache) return true;
  if (p.frozen || p.cache->key->quantized() || p.cache->value->quantized())
    return false;
  if (p.layout != Layout::kLinear && p.layout != Layout::kGrowing) return false;
  return state.slots.in_order && state.slots.index >= 0;
}

bool step_stands_alone(const Layer& layer, const RowState& state,
                       std::int64_t step, std::int64_t position) {
  const ReplayProblem& p = layer.p;
  if (p.in_cache) return true;
  const std::int64_t first = layer.step_token[at(step)];
  const std::int64_t count = p.step_lengths[at(step)];
  // On a linear layout a write that is clamped would stand elsewhere.
  if (p.layout == Layout::kLinear && position + count > p.extent) return false;
  for (std::int64_t i = 0; i < count; ++i)
    if (!sees_only_past(p, state.tables, state.slots.starts, state.row,
                        first + i, position + i, position + count))
      return false;
  return true;
}

// The end of the steps from `step` on that are stored at once.
std::int64_t joined_end(const Layer& layer, const RowState& state,
                        std::int64_t step) {
  const ReplayProblem& p = layer.p;
  if (!can_join(p, state)) return step + 1;
  const bool growing = p.layout == Layout::kGrowing;
  // Growing rows are filled to their end, so that index and position agree.
  if (growing && !p.in_cache && state.slots.index != state.slots.count())
    return step + 1;
  std::int64_t position = state.slots.index;
  std::int64_t tokens = 0;
  std::int64_t end = step;
  while (end < layer.last_step) {
    const std::int64_t count = p.step_lengths[at(end)];
    if (end > step && tokens + count > kJoinedTokens) break;
    if (computed(layer, end) != computed(layer, step)) break;
    if (!step_stands_alone(layer, state, end, position)) break;
    tokens += count;
    position += count;
    ++end;
  }
  return std::max(end, step + 1);
}

// Steps [first, last) on a row.
void replay_steps_of(const Layer& layer, RowState& state, std::int64_t first,
                     std::int64_t last) {
  std::vector<Standing> tokens;
  for (std::int64_t step = first; step < last; ++step) {
    const auto standings =
        do_step(layer.p, layer.rotary(), state, layer.step_token[at(step)],
                layer.p.step_lengths[at(step)]);
    tokens.insert(tokens.end(), standings.begin(), standings.end());
  }
  if (computed(layer, first)) attend_and_compare(layer, state, tokens);
  count_done(layer, static_cast<std::int64_t>(tokens.size()));
}

// Batch rows that are replayed together: one, or all where they share blocks
// of codes.
struct Group {
  std::vector<RowState> rows;
  std::optional<QuantizedRows> key;
  std::optional<QuantizedRows> value;
};

void requantize(const Layer& layer, Group& group) {
  const auto quantize = [&](std::optional<QuantizedRows>& quantized,
                            PagedRows RowState::*what) {
    if (!quantized) return;
    std::vector<PagedRows*> rows;
    for (RowState& state : group.rows) rows.push_back(&(state.*what));
    quantized->requantize(rows, *layer.run.pool);
  };
  quantize(group.key, &RowState::key);
  quantize(group.value, &RowState::value);
  if (!group.key || !layer.p.rotate_keys) return;
  for (RowState& state : group.rows)
    refresh_rotated(layer.p, *layer.rotation, state, 0, state.key.slots());
}

std::int64_t replay_some_steps(const Layer& layer, Group& group,
                               std::int64_t step) {
  const ReplayProblem& p = layer.p;
  const std::int64_t last = group.rows.size() == 1
                                ? joined_end(layer, group.rows.front(), step)
                                : step + 1;
  for (RowState& state : group.rows) {
    if (!p.frozen || p.in_cache) {
      replay_steps_of(layer, state, step, last);
      continue;
    }
    // A frozen layer keeps nothing: the copy shares all pages but those that
    // the step writes.
    RowState passing = state;
    replay_steps_of(layer, passing, step, last);
  }
  if (!p.frozen && !p.in_cache) requantize(layer, group);
  return last;
}

Group open_group(const Layer& layer, std::int64_t first, std::int64_t last) {
  const ReplayProblem& p = layer.p;
  Group group;
  if (p.cache->key->quantized()) group.key.emplace(*p.cache->key, first, last);
  if (p.cache->value->quantized())
    group.value.emplace(*p.cache->value, first, last);
  const auto rows_of = [&](const QuantizedRows& rows, std::int64_t row) {
    return p.in_cache ? rows.read_only(row) : rows.dequantized(row);
  };
  for (std::int64_t row = first; row < last; ++row) {
    RowState state = row_state(p, row);
    if (group.key) state.key = rows_of(*group.key, row - first);
    if (group.value) state.value = rows_of(*group.value, row - first);
    if (p.rotate_keys) {
      state.rotated.emplace(DType::kF32, p.extent, p.key_heads, p.key_dim);
      refresh_rotated(p, *layer.rotation, state, 0, p.extent);
    }
    group.rows.push_back(std::move(state));
  }
  return group;
}

void replay_rows(const Layer& layer, std::int64_t first, std::int64_t last) {
  Group group = open_group(layer, first, last);
  for (std::int64_t step = 0; step < layer.last_step;)
    step = replay_some_steps(layer, group, step);
  for (RowState& state : group.rows) {
    if (layer.final_layer != nullptr)
      compare_final_row(layer.p, state, *layer.final_layer);
    if (layer.kept != nullptr) keep_row(layer.p, state, *layer.kept);
  }
  if (layer.final_layer != nullptr)
    compare_final_codes(first, group.key, group.value, *layer.final_layer);
  if (layer.kept != nullptr) keep_codes(group.key, group.value, *layer.kept);
}

// Rows that can be replayed one after the other.
std::int64_t rows_together(const ReplayProblem& p) {
  for (const auto* tensor : {&p.cache->key, &p.cache->value})
    if ((*tensor)->quantized() && !rows_are_apart(**tensor)) return p.rows;
  return 1;
}

// The layer is replayed up to a refused write only.
void stop_at(Layer& layer, const RefusedWrite& refused) {
  ReplayRun& run = layer.run;
  layer.last_step = refused.step;
  run.report->findings.push_back(refused.finding);
  const std::string number = std::to_string(layer.p.number);
  if (layer.last_step < run.last_step)
    run.report->not_compared.push_back(
        "/trace/layers/" + number + "/output: steps from " +
        std::to_string(std::max(layer.last_step, run.first_step)) +
        " on, after a refused write");
  if (run.tape->final_state &&
      run.tape->final_state->layers.contains(layer.p.number))
    run.report->not_compared.push_back("/final/layers/" + number +
                                       ": a write was refused");
}

}  // namespace

void replay_layer(ReplayRun& run, const ReplayProblem& p,
                  std::size_t layer_row) {
  Layer layer{.run = run, .p = p, .layer_row = layer_row};
  layer.last_step = static_cast<std::int64_t>(p.step_lengths.size());
  layer.step_token = {0};
  for (std::int64_t length : p.step_lengths)
    layer.step_token.push_back(layer.step_token.back() + length);
  if (p.rotate_keys || p.rotate_queries) layer.rotation.emplace(p.rotary);
  const auto refused = refused_write(p, run.options->mode);
  if (refused) stop_at(layer, *refused);
  auto final_state = final_layer(*run.tape, p);
  std::optional<KeptLayer> kept;
  if (run.options->keep) kept = kept_layer(p);
  layer.final_layer = final_state && !refused ? &*final_state : nullptr;
  layer.kept = kept && !refused ? &*kept : nullptr;
  const std::int64_t together = rows_together(p);
  for (std::int64_t row = 0; row < p.rows; row += together)
    replay_rows(layer, row, row + together);
  if (layer.final_layer != nullptr) add_final_layer(*final_state, *run.report);
  if (layer.kept != nullptr)
    put_kept_layer(p, std::move(*kept), *run.report->replayed);
  else if (kept)
    run.report->replayed->trace->layers.at(p.number).output.reset();
}

}  // namespace kvtape
