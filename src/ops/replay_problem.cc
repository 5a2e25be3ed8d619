// Collects what a replay reads of a layer, and refuses contradictions.
#include "ops/replay_problem.h"

#include <algorithm>
#include <cmath>

#include "core/checked.h"
#include "kvtape/error.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

std::string cache_object(const ReplayProblem& p) {
  return "/layers/" + std::to_string(p.number);
}
std::string trace_object(const ReplayProblem& p) {
  return "/trace/layers/" + std::to_string(p.number);
}

std::vector<std::int64_t> per_row(const ReplayProblem& p, const Tensor& tensor,
                                  const std::string& object) {
  check_integers(tensor, object, {});
  check_equal(object, "rows", p.rows, extent(tensor, AxisKind::kBatch));
  auto values = integers(tensor);
  check_bounds(object, -kLargestPosition, kLargestPosition, values);
  return values;
}

// ---- the cache

void check_stored(const Tensor& tensor, const std::string& object) {
  check_tensor(tensor, object,
               {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim});
  if (!is_float(tensor.dtype))
    contradiction(object, "dtype", "floating point",
                  std::string(name(tensor.dtype)));
  if (!has_axis(tensor, AxisKind::kPosition))
    contradiction(object, "axes", "a position axis", shape_text(tensor));
  for (AxisKind kind : {AxisKind::kBatch, AxisKind::kHead, AxisKind::kDim})
    if (extent(tensor, kind) == 0)
      contradiction(object, "shape", "no extent of 0 but along positions",
                    shape_text(tensor));
  if (tensor.quantized()) check_quantized(tensor, object);
}

void set_cache_shape(ReplayProblem& p) {
  const Tensor& key = *p.cache->key;
  const Tensor& value = *p.cache->value;
  const std::string key_object = cache_object(p) + "/key";
  const std::string value_object = cache_object(p) + "/value";
  check_stored(key, key_object);
  check_stored(value, value_object);
  p.rows = extent(key, AxisKind::kBatch);
  p.extent = extent(key, AxisKind::kPosition);
  p.key_heads = extent(key, AxisKind::kHead);
  p.key_dim = extent(key, AxisKind::kDim);
  p.value_heads = extent(value, AxisKind::kHead);
  p.value_dim = extent(value, AxisKind::kDim);
  check_equal(value_object, "rows", p.rows, extent(value, AxisKind::kBatch));
  check_equal(value_object, "positions", p.extent,
              extent(value, AxisKind::kPosition),
              "keys and values have one length");
}

void set_cache_state(ReplayProblem& p) {
  const std::string object = cache_object(p);
  const bool growing = p.layout == Layout::kGrowing;
  const auto rows = static_cast<std::size_t>(p.rows);
  p.index.assign(rows, growing ? p.extent : 0);
  p.starts.assign(rows, 0);
  if (p.cache->index) p.index = per_row(p, *p.cache->index, object + "/index");
  if (p.cache->starts)
    p.starts = per_row(p, *p.cache->starts, object + "/starts");
  // Only dynamic_update_slice knows what a negative index means.
  if (p.layout != Layout::kLinear)
    check_bounds(object + "/index", 0, kLargestPosition, p.index);
  if (p.extent == 0 && !growing)
    contradiction(object + "/key", "positions",
                  "at least one, or layout growing", "0");
  if (!p.cache->slot_position) return;
  const std::string slots = object + "/slot_position";
  check_integers(*p.cache->slot_position, slots, {AxisKind::kPosition});
  check_equal(slots, "rows", p.rows,
              extent(*p.cache->slot_position, AxisKind::kBatch));
  check_equal(slots, "positions", p.extent,
              extent(*p.cache->slot_position, AxisKind::kPosition));
}

// ---- the specs

void check_heads(const ReplayProblem& p, const std::string& object,
                 std::int64_t heads) {
  if (p.attention.query_heads % heads != 0)
    contradiction(object, "query_heads",
                  "a multiple of " + std::to_string(heads),
                  std::to_string(p.attention.query_heads));
}

void check_attention(const ReplayProblem& p) {
  const std::string object = "/attention";
  if (p.attention.query_heads < 1)
    contradiction(object, "query_heads", "at least 1",
                  std::to_string(p.attention.query_heads));
  check_heads(p, object, p.key_heads);
  check_heads(p, object, p.value_heads);
  if (!std::isfinite(p.attention.softmax_scale))
    contradiction(object, "softmax_scale", "a finite number", "another");
  if (!(p.attention.logit_softcap >= 0) ||
      !std::isfinite(p.attention.logit_softcap))
    contradiction(object, "logit_softcap", "0 or a finite positive number",
                  "another");
  if (p.window < 0)
    contradiction(cache_object(p), "window", "0 or more",
                  std::to_string(p.window));
}

void check_rotary(const ReplayProblem& p) {
  if (!p.rotate_keys && !p.rotate_queries) return;
  const std::string object = "/rotary";
  const Rotary& rotary = p.rotary;
  if (rotary.dims < 2 || rotary.dims % 2 != 0 || rotary.dims > p.key_dim)
    contradiction(object, "dims",
                  "even, from 2 to " + std::to_string(p.key_dim),
                  std::to_string(rotary.dims));
  if (!rotary.inv_freq.empty())
    check_equal(object + "/inv_freq", "length", rotary.dims / 2,
                static_cast<std::int64_t>(rotary.inv_freq.size()));
  for (double frequency : rotary.inv_freq)
    if (!(std::fabs(frequency) <= 1e3))
      contradiction(object + "/inv_freq", "value", "a finite frequency",
                    std::to_string(frequency));
  if (!(rotary.theta >= 1e-3) || !std::isfinite(rotary.theta))
    contradiction(object, "theta", "a finite number from 0.001 on",
                  std::to_string(rotary.theta));
  if (!std::isfinite(rotary.attention_factor))
    contradiction(object, "attention_factor", "a finite number",
                  std::to_string(rotary.attention_factor));
}

void set_specs(ReplayProblem& p) {
  p.layout = p.cache->layout.value_or(Layout::kLinear);
  p.window = p.cache->window.value_or(0);
  p.frozen = p.cache->frozen.value_or(false);
  p.attention = resolved(merged(p.cache->attention, p.whole->attention),
                         p.key_heads, p.key_dim);
  p.rotary = resolved(merged(p.cache->rotary, p.whole->rotary), p.key_dim);
  const bool style = p.rotary.style != RotaryStyle::kNone;
  p.rotate_keys = style && !p.rotary.keys_rotated;
  p.rotate_queries = style && !p.rotary.queries_rotated;
  check_attention(p);
  check_rotary(p);
}

// ---- the trace

void check_traced(const ReplayProblem& p, const Tensor& tensor,
                  const std::string& object, std::int64_t heads,
                  std::int64_t dim) {
  check_floats(tensor, object,
               {AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  if (!has_axis(tensor, AxisKind::kToken))
    contradiction(object, "axes", "a token axis", shape_text(tensor));
  check_equal(object, "rows", p.rows, extent(tensor, AxisKind::kBatch));
  check_equal(object, "tokens", p.tokens, extent(tensor, AxisKind::kToken),
              "the token axis holds the tokens of all steps");
  check_equal(object, "heads", heads, extent(tensor, AxisKind::kHead));
  check_equal(object, "dim", dim, extent(tensor, AxisKind::kDim));
}

void check_layer_trace(const ReplayProblem& p) {
  const std::string object = trace_object(p);
  const std::int64_t query_heads = p.attention.query_heads;
  check_traced(p, *p.layer->query, object + "/query", query_heads, p.key_dim);
  if (p.layer->output)
    check_traced(p, *p.layer->output, object + "/output", query_heads,
                 p.value_dim);
  if (p.in_cache) return;
  check_traced(p, *p.layer->key, object + "/key", p.key_heads, p.key_dim);
  check_traced(p, *p.layer->value, object + "/value", p.value_heads,
               p.value_dim);
}

void check_per_token(const ReplayProblem& p, const std::optional<Tensor>& given,
                     const std::string& object) {
  if (!given) return;
  check_integers(*given, object, {AxisKind::kToken});
  check_equal(object, "rows", p.rows, extent(*given, AxisKind::kBatch));
  check_equal(object, "tokens", p.tokens, extent(*given, AxisKind::kToken));
}

// How many slots the cache can have while a token attends.
std::int64_t most_slots(const ReplayProblem& p) {
  if (p.layout != Layout::kGrowing || p.in_cache) return p.extent;
  std::int64_t longest = 0;
  for (std::int64_t length : p.step_lengths)
    longest = std::max(longest, length);
  return p.extent + (p.frozen ? longest : p.tokens);
}

void set_mask(ReplayProblem& p) {
  if (p.attention.visibility != Visibility::kMask) return;
  const bool own = p.layer->attention_mask.has_value();
  const auto& mask = own ? p.layer->attention_mask : p.trace->attention_mask;
  const std::string object =
      (own ? trace_object(p) : "/trace") + "/attention_mask";
  if (!mask)
    contradiction(object, "dataset", "present", "missing",
                  "/attention says visibility=\"mask\"");
  check_integers(*mask, object, {AxisKind::kToken, AxisKind::kPosition});
  check_equal(object, "rows", p.rows, extent(*mask, AxisKind::kBatch));
  if (!has_axis(*mask, AxisKind::kToken))
    contradiction(object, "axes", "a token axis", shape_text(*mask));
  check_equal(object, "tokens", p.tokens, extent(*mask, AxisKind::kToken));
  if (extent(*mask, AxisKind::kPosition) < most_slots(p))
    contradiction(object, "positions",
                  "at least " + std::to_string(most_slots(p)),
                  std::to_string(extent(*mask, AxisKind::kPosition)));
  p.mask = &*mask;
}

void set_first(ReplayProblem& p) {
  const bool own = p.layer->start_index.has_value();
  const auto& start = own ? p.layer->start_index : p.trace->start_index;
  const std::string object =
      (own ? trace_object(p) : "/trace") + "/start_index";
  p.first.clear();
  for (std::int64_t index : p.index) p.first.push_back(index - p.tokens);
  if (start) p.first = per_row(p, *start, object);
  const bool fixed =
      p.layout == Layout::kLinear || p.layout == Layout::kGrowing;
  check_bounds(object, 0, fixed ? p.extent - p.tokens : kLargestPosition,
               p.first);
}

void set_trace(ReplayProblem& p) {
  p.in_cache = p.trace->keys_in == Trace::KeysIn::kCache;
  p.step_lengths = replay_steps(*p.trace);
  for (std::int64_t length : p.step_lengths) p.tokens += length;
  check_layer_trace(p);
  check_per_token(p, p.trace->token_mask, "/trace/token_mask");
  check_per_token(p, p.trace->positions, "/trace/positions");
  if (p.whole->attention_mask) {
    check_integers(*p.whole->attention_mask, "/attention_mask",
                   {AxisKind::kPosition});
    check_equal("/attention_mask", "rows", p.rows,
                extent(*p.whole->attention_mask, AxisKind::kBatch));
  }
  set_mask(p);
  if (p.in_cache) set_first(p);
  if (p.in_cache && p.extent == 0)
    contradiction(cache_object(p) + "/key", "positions",
                  "those that keys_in=\"cache\" speaks of", "0");
}

}  // namespace

std::optional<std::string> missing_for_replay(const Tape& tape,
                                              std::int64_t number) {
  const std::string layer = "layers/" + std::to_string(number);
  const auto cached = tape.cache.layers.find(number);
  if (cached == tape.cache.layers.end()) return "/" + layer + ": missing";
  const auto& traced = tape.trace->layers.at(number);
  if (!cached->second.key) return "/" + layer + "/key: missing";
  if (!cached->second.value) return "/" + layer + "/value: missing";
  if (!traced.query) return "/trace/" + layer + "/query: missing";
  if (tape.trace->keys_in == Trace::KeysIn::kCache) return std::nullopt;
  if (!traced.key) return "/trace/" + layer + "/key: missing";
  if (!traced.value) return "/trace/" + layer + "/value: missing";
  return std::nullopt;
}

ReplayProblem replay_problem(const Tape& tape, std::int64_t number) {
  ReplayProblem p;
  p.number = number;
  p.whole = &tape.cache;
  p.cache = &tape.cache.layers.at(number);
  p.trace = &*tape.trace;
  p.layer = &tape.trace->layers.at(number);
  set_cache_shape(p);
  set_specs(p);
  set_cache_state(p);
  set_trace(p);
  return p;
}

std::vector<std::int64_t> replay_steps(const Trace& trace) {
  const std::string object = "/trace/step_lengths";
  if (!trace.step_lengths)
    contradiction(object, "dataset", "present", "missing",
                  "how many tokens each call of the model had");
  check_tensor(
      *trace.step_lengths, object,
      {AxisKind::kPosition, AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  auto lengths = integers(*trace.step_lengths);
  std::int64_t sum = 0;
  for (std::int64_t length : lengths) {
    const auto next = checked_add(sum, length);
    if (!next || *next > kLargestPosition)
      contradiction(object, "value", "lengths that can be added",
                    std::to_string(length));
    sum = *next;
  }
  return lengths;
}

}  // namespace kvtape
