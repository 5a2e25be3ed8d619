// Checks of /trace against the cache.
#include <fmt/format.h>

#include <algorithm>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

using Numbers = std::vector<std::int64_t>;

/// What the checks of a trace share.
struct Context {
  const Tape& tape;
  const Cache& cache;
  const Trace& trace;
  std::int64_t tokens = -1;  // of all steps; -1 = unknown
  Findings& findings;

  bool keys_in_cache() const {
    return trace.keys_in.value_or(Trace::KeysIn::kTrace) ==
           Trace::KeysIn::kCache;
  }
};

// Tokens of all steps, or -1.
std::int64_t check_steps(const Trace& trace, Findings& findings) {
  const auto report = [&](const char* field, std::string found) {
    findings.add({.rule = "E46",
                  .object = "/trace/step_lengths",
                  .field = field,
                  .expected = "positive numbers of tokens",
                  .found = std::move(found)});
    return std::int64_t{-1};
  };
  if (!trace.step_lengths) return report("dataset", "none");
  const auto lengths = small_integers(trace.step_lengths);
  if (!lengths && is_absent(*trace.step_lengths)) return -1;
  if (!lengths)
    return report("dtype", std::string(name(trace.step_lengths->dtype)));
  if (lengths->empty()) return report("shape", "[0]");
  std::int64_t sum = 0;
  for (std::size_t step = 0; step < lengths->size(); ++step)
    if ((*lengths)[step] <= 0)
      return report("values",
                    fmt::format("{} in step {}", (*lengths)[step], step));
    else if (__builtin_add_overflow(sum, (*lengths)[step], &sum))
      return report("values", "a sum above 63 bits");
  return sum;
}

/// A tensor of a layer of the trace, and the shape it should have.
struct Recorded {
  const char* leaf;
  const std::optional<Tensor>& tensor;
  std::int64_t heads;
  std::int64_t dims;
};

void check_recorded(const Context& in, const std::string& path,
                    std::int64_t rows, const Recorded& recorded) {
  if (!recorded.tensor) return;
  const Tensor& tensor = *recorded.tensor;
  const std::string object = path + recorded.leaf;
  if (!is_float(tensor.dtype) || tensor.quantized())
    in.findings.add({.rule = "E48",
                     .object = object,
                     .field = "dtype",
                     .expected = "f16, bf16, f32 or f64",
                     .found = storage_text(tensor)});
  const Extents has = extents_of(tensor);
  if (in.tokens >= 0 && has.position != in.tokens)
    in.findings.add(
        {.rule = "E47",
         .object = object,
         .field = "token",
         .expected = fmt::format("{}, the sum of step_lengths", in.tokens),
         .found = std::to_string(has.position)});
  if (has.batch != rows || has.heads != recorded.heads ||
      has.dims != recorded.dims)
    in.findings.add(
        {.rule = "E48",
         .object = object,
         .field = "shape",
         .expected = fmt::format("[{}, {}, {}, {}]", rows, has.position,
                                 recorded.heads, recorded.dims),
         .found = fmt::format("[{}, {}, {}, {}]", has.batch, has.position,
                              has.heads, has.dims)});
}

// The system casts, widens or refuses where the new rows' dtype is another.
void check_dtype(const Context& in, const std::string& path,
                 const std::optional<Tensor>& recorded, const Tensor& cached) {
  if (!recorded || recorded->dtype == cached.dtype) return;
  in.findings.add({.rule = "W30",
                   .object = path,
                   .field = "dtype",
                   .expected = std::string(name(cached.dtype)),
                   .found = std::string(name(recorded->dtype))});
}

void check_shapes(const Context& in, const std::string& path,
                  const LayerCache& layer, const LayerTrace& trace) {
  if (!layer.key || !layer.value) return;
  const Extents key = extents_of(*layer.key);
  const Extents value = extents_of(*layer.value);
  const std::int64_t query_heads = merged(layer.attention, in.cache.attention)
                                       .query_heads.value_or(key.heads);
  for (const Recorded& recorded :
       {Recorded{"/query", trace.query, query_heads, key.dims},
        Recorded{"/key", trace.key, key.heads, key.dims},
        Recorded{"/value", trace.value, value.heads, value.dims},
        Recorded{"/output", trace.output, query_heads, value.dims}})
    check_recorded(in, path, key.batch, recorded);
  check_dtype(in, path + "/key", trace.key, *layer.key);
  check_dtype(in, path + "/value", trace.value, *layer.value);
}

bool has_hidden_states(const Tape& tape, const std::string& path) {
  return std::any_of(tape.extras.begin(), tape.extras.end(),
                     [&](const Extra& extra) {
                       return extra.tensor && extra.path == path + "/hidden";
                     });
}

void check_presence(const Context& in, const std::string& path,
                    const LayerTrace& trace) {
  const auto missing = [&](const char* rule, const char* what,
                           const char* expected) {
    in.findings.add({.rule = rule,
                     .object = path,
                     .field = what,
                     .expected = expected,
                     .found = "none"});
  };
  if (has_hidden_states(in.tape, path)) return;  // all follows from them
  if (!trace.query) missing("E50", "query", "one query per token");
  if (!in.keys_in_cache() && !trace.key)
    missing("E50", "key", "the new tokens' keys");
  if (!in.keys_in_cache() && !trace.value)
    missing("E50", "value", "the new tokens' values");
  if (!trace.output) missing("W28", "output", "what the model computed");
}

// start_index [batch] of one layer, or of all: integers, not negative, and the
// tokens of the trace end inside what the cache holds.
void check_start_index(const Context& in, const std::string& object,
                       const Tensor& start, const LayerCache& layer) {
  const std::int64_t rows = extents_of(*either(layer)).batch;
  const auto report = [&](const char* field, std::string expected,
                          std::string found) {
    in.findings.add({.rule = "E51",
                     .object = object,
                     .field = field,
                     .expected = std::move(expected),
                     .found = std::move(found)});
  };
  const auto numbers = small_integers(start);
  if (is_absent(start) && element_count(start) == rows) return;
  if (!numbers || element_count(start) != rows)
    return report("shape", fmt::format("i32 [{}]", rows),
                  fmt::format("{} {}", name(start.dtype), shape_text(start)));
  const Numbers starts = *numbers;
  const auto index = small_integers(layer.index);
  for (std::size_t row = 0; row < starts.size(); ++row) {
    if (starts[row] < 0)
      return report("values", ">= 0",
                    fmt::format("{} in row {}", starts[row], row));
    if (in.tokens < 0 || !index || index->size() != starts.size() ||
        (*index)[row] < 0)
      continue;
    if (starts[row] > (*index)[row] - in.tokens)
      return report(
          "values",
          fmt::format("at most {}: index {} less {} tokens",
                      (*index)[row] - in.tokens, (*index)[row], in.tokens),
          fmt::format("{} in row {}", starts[row], row));
  }
}

void check_start(const Context& in, const std::string& path,
                 const LayerCache& layer, const LayerTrace& trace) {
  if (!in.keys_in_cache()) return;
  if (trace.start_index)
    check_start_index(in, path + "/start_index", *trace.start_index, layer);
  else if (in.trace.start_index)
    check_start_index(in, "/trace/start_index", *in.trace.start_index, layer);
  else
    in.findings.add({.rule = "W29",
                     .object = "/trace",
                     .field = "start_index",
                     .expected = "one number per row",
                     .found = "none"});
}

// A mask may have more columns than there are slots after the last step.
bool covers_slots(const Context& in, const LayerCache& layer,
                  std::int64_t columns) {
  const bool grows = layout_of(layer) == Layout::kGrowing &&
                     !in.keys_in_cache() && !layer.frozen.value_or(false);
  return columns - (grows && in.tokens > 0 ? in.tokens : 0) >=
         extents_of(*either(layer)).position;
}

void check_mask(const Context& in, const std::string& object,
                const Tensor& mask, const LayerCache& layer) {
  const std::int64_t rows = extents_of(*either(layer)).batch;
  const std::int64_t tokens = extent(mask, AxisKind::kToken);
  const std::int64_t columns = extent(mask, AxisKind::kPosition);
  if (!is_float(mask.dtype) && extent(mask, AxisKind::kBatch) == rows &&
      (in.tokens < 0 || tokens == in.tokens) &&
      covers_slots(in, layer, columns))
    return;
  in.findings.add(
      {.rule = "E52",
       .object = object,
       .field = "shape",
       .expected = fmt::format("integers [{}, {}, {} or more]", rows,
                               in.tokens < 0 ? tokens : in.tokens,
                               extents_of(*either(layer)).position),
       .found = fmt::format("{} {}", name(mask.dtype), shape_text(mask))});
}

void check_masks(const Context& in, std::int64_t number,
                 const LayerCache& layer, const LayerTrace& trace) {
  const std::string path = "/trace" + layer_path(number);
  if (trace.attention_mask)
    check_mask(in, path + "/attention_mask", *trace.attention_mask, layer);
  else if (in.trace.attention_mask)
    check_mask(in, "/trace/attention_mask", *in.trace.attention_mask, layer);
  else if (merged(layer.attention, in.cache.attention).visibility ==
           Visibility::kMask)
    in.findings.add({.rule = "E54",
                     .object = path,
                     .field = "attention_mask",
                     .expected = "a mask per token",
                     .found = "none"});
}

void check_capacity(const Context& in, const std::string& path,
                    const LayerCache& layer) {
  const auto index = small_integers(layer.index);
  const auto capacity = in.cache.metadata.sequence_length;
  if (!index || in.tokens < 0 || in.keys_in_cache() || capacity <= 0 ||
      layout_of(layer) != Layout::kLinear || layer.frozen.value_or(false))
    return;
  for (std::size_t row = 0; row < index->size(); ++row) {
    // An index that is itself beyond the capacity has its own rule.
    if ((*index)[row] > capacity || (*index)[row] <= capacity - in.tokens)
      continue;
    in.findings.add(
        {.rule = "W31",
         .object = path,
         .field = "tokens",
         .expected = fmt::format("at most {} from index {}",
                                 capacity - (*index)[row], (*index)[row]),
         .found = fmt::format("{} in row {}", in.tokens, row)});
    return;
  }
}

void check_layer(const Context& in, std::int64_t number,
                 const LayerTrace& trace) {
  const std::string path = "/trace" + layer_path(number);
  const auto entry = in.cache.layers.find(number);
  if (entry == in.cache.layers.end()) {
    in.findings.add({.rule = "E49",
                     .object = path,
                     .field = "layer",
                     .expected = "a layer of the cache",
                     .found = "no " + layer_path(number)});
    return;
  }
  check_presence(in, path, trace);
  const LayerCache& layer = entry->second;
  if (!is_usable(layer)) return;
  check_shapes(in, path, layer, trace);
  check_start(in, path, layer, trace);
  check_masks(in, number, layer, trace);
  check_capacity(in, path, layer);
}

// token_mask and positions: [batch, token].
void check_per_token(const Context& in, const char* rule, const char* object,
                     const std::optional<Tensor>& tensor) {
  if (!tensor) return;
  std::int64_t rows = extent(*tensor, AxisKind::kBatch);
  for (const auto& [number, layer] : in.cache.layers)
    if (is_usable(layer)) {
      rows = extents_of(*either(layer)).batch;
      break;
    }
  const Extents has = extents_of(*tensor);
  const std::int64_t tokens = in.tokens < 0 ? has.position : in.tokens;
  if (!is_float(tensor->dtype) && has.batch == rows && has.position == tokens &&
      has.heads * has.dims == 1)
    return;
  in.findings.add({.rule = rule,
                   .object = object,
                   .field = "shape",
                   .expected = fmt::format("integers [{}, {}]", rows, tokens),
                   .found = fmt::format("{} {}", name(tensor->dtype),
                                        shape_text(*tensor))});
}

}  // namespace

void check_trace(const Tape& tape, Findings& findings) {
  if (!tape.trace || has_only_operations(*tape.trace)) return;
  const Context in{.tape = tape,
                   .cache = tape.cache,
                   .trace = *tape.trace,
                   .tokens = check_steps(*tape.trace, findings),
                   .findings = findings};
  for (const auto& [number, layer] : tape.trace->layers)
    check_layer(in, number, layer);
  check_per_token(in, "E52", "/trace/token_mask", tape.trace->token_mask);
  check_per_token(in, "E53", "/trace/positions", tape.trace->positions);
}

}  // namespace kvtape
