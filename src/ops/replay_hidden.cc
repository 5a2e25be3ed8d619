// Hidden states become a trace, which replay() does twice.
#include "kvtape/replay_hidden.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/thread_pool.h"
#include "ops/dtype_order.h"
#include "ops/integer_rows.h"
#include "ops/rotation.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

/// Numbers in C order of their sizes.
struct Block {
  Sizes sizes;
  std::vector<double> numbers;
};

const Tensor* extra_at(const Tape& tape, const std::string& path) {
  for (const Extra& extra : tape.extras)
    if (extra.path == path && extra.tensor) return &*extra.tensor;
  return nullptr;
}

Sizes sizes_of(const Tensor& tensor) {
  Sizes sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  return sizes;
}

std::string sizes_text(const Sizes& sizes) {
  std::string text;
  for (const std::int64_t size : sizes)
    text += fmt::format("{}{}", text.empty() ? "[" : ", ", size);
  return text + "]";
}

// Throws unless it has that many axes and holds floats.
Block block_at(const Tape& tape, const std::string& path,
               std::initializer_list<std::size_t> ranks,
               const std::string& axes) {
  const Tensor* tensor = extra_at(tape, path);
  if (tensor == nullptr)
    contradiction(path, "data", "a dataset", "none",
                  "replay --from hidden needs it");
  if (std::find(ranks.begin(), ranks.end(), tensor->axes.size()) == ranks.end())
    contradiction(path, "shape", axes, sizes_text(sizes_of(*tensor)));
  if (!is_float(tensor->dtype) || !tensor->source->has_values())
    contradiction(path, "dtype", "floats with their values",
                  std::string(name(tensor->dtype)));
  Tensor flat = *tensor;  // in memory order
  for (Axis& axis : flat.axes) axis.kind = AxisKind::kBatch;
  return {.sizes = sizes_of(*tensor), .numbers = doubles(flat)};
}

/// A layer's linear maps and its input.
struct LayerInput {
  std::int64_t number = 0;
  Block hidden;                   // [batch, token, embedding]
  Block query;                    // [embedding, query_head, key_dim]
  Block key;                      // [embedding, key_head, key_dim]
  Block value;                    // [embedding, value_head, value_dim]
  Block output;                   // [query_head, value_dim, embedding]
  std::optional<Block> recorded;  // [batch, token, embedding]

  std::int64_t rows() const { return hidden.sizes[0]; }
  std::int64_t tokens() const { return hidden.sizes[1]; }
  std::int64_t embedding() const { return hidden.sizes[2]; }
};

std::string layer_path(std::int64_t number) {
  return "/layers/" + std::to_string(number);
}

// Of one head where the axis is left out.
Block weights_at(const Tape& tape, std::int64_t number, const char* field,
                 const char* axes) {
  const std::string path = layer_path(number) + "/weights/" + field;
  Block block = block_at(tape, path, {2, 3}, axes);
  const bool output = std::string_view(field) == "output";
  if (block.sizes.size() == 2)
    block.sizes.insert(block.sizes.begin() + (output ? 0 : 1), 1);
  return block;
}

LayerInput layer_input(const Tape& tape, std::int64_t number) {
  const std::string trace = "/trace" + layer_path(number);
  LayerInput input{
      .number = number,
      .hidden =
          block_at(tape, trace + "/hidden", {3}, "[batch, token, embedding]"),
      .query = weights_at(tape, number, "query", "[embedding, head, dim]"),
      .key = weights_at(tape, number, "key", "[embedding, head, dim]"),
      .value = weights_at(tape, number, "value", "[embedding, head, dim]"),
      .output = weights_at(tape, number, "output", "[head, dim, embedding]")};
  const std::string weights = layer_path(number) + "/weights";
  for (const auto& [field, found] :
       {std::pair("query", input.query.sizes[0]),
        std::pair("key", input.key.sizes[0]),
        std::pair("value", input.value.sizes[0]),
        std::pair("output", input.output.sizes[2])})
    check_equal(weights + "/" + field, "embedding", input.embedding(), found);
  check_equal(weights + "/output", "heads", input.query.sizes[1],
              input.output.sizes[0]);
  check_equal(weights + "/output", "dim", input.value.sizes[2],
              input.output.sizes[1]);
  if (extra_at(tape, trace + "/output_projected") != nullptr) {
    input.recorded = block_at(tape, trace + "/output_projected", {3},
                              "[batch, token, embedding]");
    if (input.recorded->sizes != input.hidden.sizes)
      contradiction(trace + "/output_projected", "shape",
                    sizes_text(input.hidden.sizes),
                    sizes_text(input.recorded->sizes));
  }
  return input;
}

// vectors [n, in] times weights [in, out], each sum in f64.
std::vector<double> projected(const std::vector<double>& vectors,
                              const std::vector<double>& weights,
                              std::int64_t in, ThreadPool& pool) {
  const auto width = static_cast<std::size_t>(in);
  const std::size_t out = width == 0 ? 0 : weights.size() / width;
  const std::size_t count = width == 0 ? 0 : vectors.size() / width;
  std::vector<double> result(count * out, 0.0);
  pool.run(static_cast<std::int64_t>(count), [&](std::int64_t task, int) {
    const auto n = static_cast<std::size_t>(task);
    double* to = result.data() + n * out;
    for (std::size_t i = 0; i < width; ++i) {
      const double factor = vectors[n * width + i];
      const double* row = weights.data() + i * out;
      for (std::size_t j = 0; j < out; ++j) to[j] += factor * row[j];
    }
  });
  return result;
}

std::vector<float> rounded(const std::vector<double>& numbers) {
  return {numbers.begin(), numbers.end()};
}

Tensor float_tensor(const std::vector<float>& numbers, std::int64_t rows,
                    AxisKind walked, std::int64_t length, std::int64_t heads,
                    std::int64_t dim) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return make_tensor(
      DType::kF32,
      {{AxisKind::kBatch, "batch", rows},
       {walked, walked == AxisKind::kToken ? "token" : "position", length},
       {AxisKind::kHead, "head", heads},
       {AxisKind::kDim, "dim", dim}},
      {bytes.begin(), bytes.end()});
}

// ---- positions

std::vector<std::int64_t> first_positions(const Tape& tape, std::int64_t number,
                                          std::int64_t rows) {
  const LayerCache& layer = tape.cache.layers.at(number);
  const Trace& trace = *tape.trace;
  const bool in_cache = trace.keys_in == Trace::KeysIn::kCache;
  const auto own = trace.layers.find(number);
  const std::optional<Tensor>& start =
      own != trace.layers.end() && own->second.start_index
          ? own->second.start_index
          : trace.start_index;
  const std::optional<Tensor>& from = in_cache ? start : layer.index;
  if (!from) return std::vector<std::int64_t>(static_cast<std::size_t>(rows));
  auto first = integers(*from);
  check_equal(layer_path(number), "rows", rows, std::ssize(first));
  return first;
}

// Of each token of a row, for rotary embedding.
std::vector<std::int64_t> positions_of(const Tape& tape, std::int64_t row,
                                       std::int64_t first,
                                       std::int64_t tokens) {
  const Trace& trace = *tape.trace;
  if (trace.positions) return integer_row(trace.positions, row);
  if (trace.token_mask)
    contradiction("/trace/positions", "data", "positions beside token_mask",
                  "none");
  std::vector<std::int64_t> positions;
  for (std::int64_t token = 0; token < tokens; ++token)
    positions.push_back(first + token);
  return positions;
}

// ---- the work

class HiddenReplay {
 public:
  HiddenReplay(const Tape& tape, const ReplayOptions& options)
      : tape_(tape), options_(options), pool_(options.threads) {}

  HiddenReport run() {
    set_tolerance();
    for (const auto& [number, layer] : tape_.cache.layers) {
      if (extra_at(tape_, "/trace" + layer_path(number) + "/hidden") ==
          nullptr) {
        report_.not_compared.push_back(layer_path(number) +
                                       ": no hidden states");
        continue;
      }
      replay_layer(number);
    }
    return std::move(report_);
  }

 private:
  void set_tolerance() {
    DType dtype = DType::kF64;
    for (const auto& [number, layer] : tape_.cache.layers) {
      coarsen(dtype, layer.key);
      coarsen(dtype, layer.value);
    }
    report_.cache_dtype = dtype;
    report_.tolerance = default_tolerance(dtype);
    if (options_.rtol || options_.atol)
      report_.tolerance = {.rtol = options_.rtol.value_or(0),
                           .atol = options_.atol.value_or(0)};
  }

  void replay_layer(std::int64_t number) {
    const LayerInput input = layer_input(tape_, number);
    report_.rows = input.rows();
    report_.tokens = input.tokens();
    const auto first = first_positions(tape_, number, input.rows());
    const LayerTrace trace = layer_trace(input, first);
    const std::vector<double> cached =
        outputs(cached_tape(input, trace), input, true);
    HiddenLayer result{.layer = number};
    std::optional<std::vector<double>> uncached;
    if (std::all_of(first.begin(), first.end(),
                    [](std::int64_t position) { return position == 0; }))
      uncached = outputs(uncached_tape(input, trace), input, false);
    else
      report_.not_compared.push_back(
          layer_path(number) + ": uncached: the trace begins at position " +
          std::to_string(*std::max_element(first.begin(), first.end())));
    if (uncached) result.parted = compared(input, *uncached, cached);
    if (input.recorded) {
      result.cached = compared(input, input.recorded->numbers, cached);
      if (uncached)
        result.uncached = compared(input, input.recorded->numbers, *uncached);
    }
    report_.layers.push_back(std::move(result));
  }

  Rotary rotary_of(const LayerInput& input) const {
    const LayerCache& layer = tape_.cache.layers.at(input.number);
    return resolved(merged(layer.rotary, tape_.cache.rotary),
                    input.key.sizes[2]);
  }

  std::vector<float> vectors(const LayerInput& input, const Block& weights,
                             const std::vector<std::int64_t>* first) {
    auto numbers = rounded(projected(input.hidden.numbers, weights.numbers,
                                     input.embedding(), pool_));
    if (first == nullptr) return numbers;
    const Rotation rotation(rotary_of(input));
    const std::int64_t heads = weights.sizes[1];
    const std::int64_t dim = weights.sizes[2];
    for (std::int64_t row = 0; row < input.rows(); ++row) {
      const auto positions = positions_of(
          tape_, row, (*first)[static_cast<std::size_t>(row)], input.tokens());
      check_equal("/trace/positions", "tokens", input.tokens(),
                  std::ssize(positions));
      check_bounds("/trace/positions", -kLargestPosition, kLargestPosition,
                   positions);
      rotation.apply(positions, heads, dim,
                     numbers.data() + row * input.tokens() * heads * dim);
    }
    return numbers;
  }

  // Queries and keys are rotated here, as far as the cache's keys are.
  LayerTrace layer_trace(const LayerInput& input,
                         const std::vector<std::int64_t>& first) {
    const Rotary rotary = rotary_of(input);
    const bool rotates = rotary.style != RotaryStyle::kNone;
    if (rotates && (rotary.dims < 2 || rotary.dims % 2 != 0 ||
                    rotary.dims > input.key.sizes[2]))
      contradiction("/rotary", "dims",
                    fmt::format("even, from 2 to {}", input.key.sizes[2]),
                    std::to_string(rotary.dims));
    const auto tensor = [&](const Block& weights, bool rotated) {
      return float_tensor(vectors(input, weights, rotated ? &first : nullptr),
                          input.rows(), AxisKind::kToken, input.tokens(),
                          weights.sizes[1], weights.sizes[2]);
    };
    LayerTrace trace = own_trace(input.number);
    trace.query = tensor(input.query, rotates);
    trace.key = tensor(input.key, rotates && rotary.keys_rotated);
    trace.value = tensor(input.value, false);
    trace.output.reset();
    return trace;
  }

  LayerTrace own_trace(std::int64_t number) const {
    const auto found = tape_.trace->layers.find(number);
    return found == tape_.trace->layers.end() ? LayerTrace{} : found->second;
  }

  // The layer alone, with the trace that its hidden states give.
  Tape cached_tape(const LayerInput& input, const LayerTrace& trace) const {
    Tape tape;
    tape.source = tape_.source;
    tape.cache = tape_.cache;
    std::erase_if(tape.cache.layers, [&](const auto& layer) {
      return layer.first != input.number;
    });
    LayerCache& layer = tape.cache.layers.at(input.number);
    layer.rotary = merged(layer.rotary, tape.cache.rotary);
    layer.rotary.queries_rotated = true;
    layer.attention = merged(layer.attention, tape.cache.attention);
    layer.attention.query_heads = input.query.sizes[1];
    tape.trace = *tape_.trace;
    tape.trace->layers = {{input.number, trace}};
    tape.trace->operations = {};
    return tape;
  }

  // The same over an empty f32 cache that holds the trace, in one step.
  Tape uncached_tape(const LayerInput& input, const LayerTrace& trace) const {
    Tape tape = cached_tape(input, trace);
    LayerCache& layer = tape.cache.layers.at(input.number);
    const std::int64_t rows = input.rows();
    const std::int64_t tokens = input.tokens();
    const auto empty = [&](const Block& weights) {
      const std::vector<float> zeros(static_cast<std::size_t>(
          rows * tokens * weights.sizes[1] * weights.sizes[2]));
      return float_tensor(zeros, rows, AxisKind::kPosition, tokens,
                          weights.sizes[1], weights.sizes[2]);
    };
    layer.key = empty(input.key);
    layer.value = empty(input.value);
    layer.index.reset();
    layer.slot_position.reset();
    layer.frozen.reset();
    layer.layout.reset();
    tape.cache.metadata.sequence_length = tokens;
    tape.trace->keys_in = Trace::KeysIn::kTrace;
    tape.trace->start_index.reset();
    tape.trace->layers.begin()->second.start_index.reset();
    tape.trace->step_lengths = step_of(tokens);
    return tape;
  }

  static Tensor step_of(std::int64_t tokens) {
    std::vector<std::byte> bytes(sizeof(tokens));
    std::memcpy(bytes.data(), &tokens, sizeof(tokens));
    return make_tensor(DType::kI64, {{AxisKind::kBatch, "steps", 1}},
                       std::move(bytes));
  }

  // [batch, token, embedding]
  std::vector<double> outputs(const Tape& tape, const LayerInput& input,
                              bool findings) {
    ReplayOptions options = options_;
    options.keep = true;
    options.progress = nullptr;
    options.first_step = 0;
    options.last_step.reset();
    const ReplayReport report = replay(tape, options);
    if (findings)
      report_.findings.insert(report_.findings.end(), report.findings.begin(),
                              report.findings.end());
    const LayerTrace& layer = report.replayed->trace->layers.at(input.number);
    if (!layer.output)
      contradiction("/trace" + layer_path(input.number), "output", "a replay",
                    "none");
    return projected(doubles(*layer.output), input.output.numbers,
                     input.output.sizes[0] * input.output.sizes[1], pool_);
  }

  HiddenComparison compared(const LayerInput& input,
                            const std::vector<double>& expected,
                            const std::vector<double>& actual) const {
    HiddenComparison result;
    const auto width = static_cast<std::size_t>(input.embedding());
    const auto tokens = static_cast<std::size_t>(input.tokens());
    for (std::size_t token = 0; token < tokens; ++token)
      for (std::size_t row = 0; row < static_cast<std::size_t>(input.rows());
           ++row) {
        const std::size_t at = (row * tokens + token) * width;
        add_token(std::span(expected).subspan(at, width),
                  std::span(actual).subspan(at, width),
                  {.row = static_cast<std::int64_t>(row),
                   .token = static_cast<std::int64_t>(token)},
                  result);
      }
    return result;
  }

  void add_token(std::span<const double> expected,
                 std::span<const double> actual, HiddenComparison::Place place,
                 HiddenComparison& result) const {
    double squared_error = 0;
    double squares = 0;
    double furthest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const bool both_nan = std::isnan(expected[i]) && std::isnan(actual[i]);
      if (both_nan || expected[i] == actual[i]) {
        if (std::isfinite(expected[i])) squares += expected[i] * expected[i];
        continue;
      }
      const double error = std::fabs(actual[i] - expected[i]);
      squared_error += error * error;
      squares += expected[i] * expected[i];
      if (error <= furthest) continue;
      furthest = error;
      place.element = static_cast<std::int64_t>(i);
      place.expected = expected[i];
      place.actual = actual[i];
    }
    const Tolerance& t = report_.tolerance;
    const double allowed =
        t.rtol * std::sqrt(squares) +
        t.atol * std::sqrt(static_cast<double>(expected.size()));
    ++result.tokens;
    if (!(furthest <= result.max_abs)) result.max_abs = furthest;
    if (squared_error > 0 || std::isnan(squared_error))
      result.max_error =
          std::max(result.max_error, std::sqrt(squared_error / squares));
    if (std::sqrt(squared_error) <= allowed) return;
    ++result.out_of_tolerance;
    if (!result.first) result.first = place;
  }

  const Tape& tape_;
  const ReplayOptions& options_;
  ThreadPool pool_;
  HiddenReport report_;
};

bool is_good(const std::optional<HiddenComparison>& comparison) {
  return !comparison || comparison->out_of_tolerance == 0;
}

}  // namespace

bool HiddenReport::success() const {
  return !layers.empty() && not_compared.empty() && findings.empty() &&
         std::all_of(layers.begin(), layers.end(), [](const HiddenLayer& l) {
           return is_good(l.parted) && is_good(l.cached) && is_good(l.uncached);
         });
}

bool has_hidden(const Tape& tape) {
  return std::any_of(
      tape.cache.layers.begin(), tape.cache.layers.end(),
      [&](const auto& layer) {
        return extra_at(tape, "/trace" + layer_path(layer.first) + "/hidden") !=
               nullptr;
      });
}

HiddenReport replay_hidden(const Tape& tape, const ReplayOptions& options) {
  if (!tape.trace || !has_hidden(tape))
    contradiction("/trace", "layers", "hidden states of a layer", "none",
                  "kvtape-cache(5) says where they stand");
  return HiddenReplay(tape, options).run();
}

}  // namespace kvtape
