#include "ops/sample_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

#include "core/checked.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

// Fewer than a file may have objects, 14 to a layer.
constexpr std::int64_t kMostLayers = 4096;

// Of what a sample holds in memory while it is made.
constexpr double kMostGibibytes = 8;

[[noreturn]] void refuse(std::string field, std::string expected,
                         std::string found, std::string hint = {}) {
  throw Error({.object = "sample",
               .field = std::move(field),
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

bool bounded(Layout layout) {
  return layout == Layout::kLinear || layout == Layout::kGrowing;
}

std::string text(std::int64_t number) { return std::to_string(number); }

void check_sizes(const SampleOptions& o) {
  const std::array<std::pair<const char*, std::int64_t>, 8> positive{
      {{"batch size", o.batch_size},
       {"layers", o.layers},
       {"key heads", o.key_heads},
       {"value heads", o.value_heads.value_or(1)},
       {"query heads", o.query_heads},
       {"key dim", o.key_dim},
       {"value dim", o.value_dim},
       {"sequence length", o.sequence_length}}};
  for (const auto& [field, size] : positive)
    if (size < 1) refuse(field, "at least 1", text(size));
  if (o.layers > kMostLayers)
    refuse("layers", "at most " + text(kMostLayers), text(o.layers));
  for (std::int64_t size : o.batch_axes)
    if (size < 1) refuse("batch axes", "sizes of at least 1", text(size));
  const std::array<std::pair<const char*, std::int64_t>, 4> counts{
      {{"filled", o.filled.value_or(0)},
       {"prompt", o.prompt},
       {"steps", o.steps},
       {"window", o.window}}};
  for (const auto& [field, count] : counts)
    if (count < 0) refuse(field, "at least 0", text(count));
  if (o.rotary != RotaryStyle::kNone && o.key_dim < 2)
    refuse("rotary", "a key dim of at least 2", text(o.key_dim));
  if (!(o.logit_softcap >= 0))
    refuse("softcap", "at least 0", std::to_string(o.logit_softcap));
}

// Every product of sizes that is used later fits 63 bits.
void check_products(const SampleOptions& o, std::int64_t rows) {
  const std::int64_t heads = std::max(
      {o.key_heads, o.value_heads.value_or(o.key_heads), o.query_heads});
  const std::array<std::int64_t, 6> numbers{o.layers,
                                            rows,
                                            o.sequence_length,
                                            heads,
                                            std::max(o.key_dim, o.value_dim),
                                            16};
  const auto tokens = checked_add(o.prompt, o.steps);
  if (!checked_product(numbers) || !tokens ||
      !checked_product(std::array{rows, o.sequence_length, *tokens,
                                  heads * std::max(o.key_dim, o.value_dim)}) ||
      o.sequence_length > 0x7fffffff - *tokens ||
      o.filled.value_or(0) > 0x7fffffff - *tokens)
    refuse("sizes", "positions below 2^31 and bytes below 2^63",
           "sequence length " + text(o.sequence_length));
}

void check_heads(const SampleOptions& o, std::int64_t value_heads) {
  for (const std::int64_t heads : {o.key_heads, value_heads})
    if (o.query_heads % heads != 0)
      refuse("query heads", "a multiple of " + text(heads),
             text(o.query_heads));
}

// Outputs and masks are held until they are written, codes too, and a replay
// holds the cache of a layer; other tensors are made as they are written.
void check_memory(const SampleOptions& o, const SamplePlan& plan) {
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  const bool quantized = o.quantization != Quantization::Scheme::kNone;
  const double rows = number(plan.rows);
  const double layers = number(o.layers);
  const double tokens = number(plan.tokens);
  const double slots = rows * number(plan.slots(o, plan.tokens));
  const double output = number(o.query_heads) * number(o.value_dim) * 8;
  const double slot = number(o.key_heads) * number(o.key_dim) +
                      number(plan.value_heads) * number(o.value_dim);
  double bytes =
      64 * (layers * rows + tokens) + layers * rows * tokens * output;
  if (quantized || plan.tokens > 0)
    bytes += slots * slot * (quantized ? layers * 2 + 4 : 4);
  if (o.padding != Padding::kNone) bytes += slots * 4;
  if (o.visibility == Visibility::kMask) bytes += slots * tokens;
  const double gibibytes = bytes / (1 << 30);
  if (gibibytes > kMostGibibytes)
    refuse("sizes", fmt::format("at most {} GiB to hold", kMostGibibytes),
           fmt::format("{:.0f} GiB", gibibytes),
           plan.tokens > 0 ? "without a trace less is held" : "");
}

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> result{""};
  for (char c : list) {
    if (c == ',')
      result.emplace_back();
    else
      result.back() += c;
  }
  return result;
}

void check_axes(const SampleOptions& o, std::int64_t value_heads) {
  const std::vector<std::string> names = words(o.axes);
  const auto times = [&](const char* name) {
    return std::count(names.begin(), names.end(), name);
  };
  const bool headless = times("head") == 0;
  const bool known = static_cast<std::int64_t>(names.size()) ==
                     times("batch") + times("position") + times("head") +
                         times("dim") + times("layer");
  if (!known || times("batch") != 1 || times("position") != 1 ||
      times("dim") != 1 || times("head") > 1 || times("layer") > 1)
    refuse("axes", "batch, position, head and dim in any order", o.axes);
  if (headless && (o.key_heads != 1 || value_heads != 1))
    refuse("axes", "a head axis, as there are several key or value heads",
           o.axes, "leave it out with --key-heads 1");
  if (times("layer") == 1 && !o.stacked)
    refuse("axes", "no layer axis unless layers are stacked", o.axes,
           "add --stacked");
}

void check_quantization(const SampleOptions& o) {
  if (o.quantization == Quantization::Scheme::kNone) return;
  if (o.axes != SampleOptions{}.axes || o.stacked)
    refuse("quantization", "axes batch,position,head,dim, not stacked", o.axes);
  if (o.batch_axes.size() > 1)
    refuse("quantization", "one batch axis", text(std::ssize(o.batch_axes)));
  if (o.layout == Layout::kGrowing)
    refuse("quantization", "a layout of fixed extent", "growing");
  if (o.dtype == DType::kF64)
    refuse("quantization", "dtype f32, f16 or bf16", "f64");
  if (o.quantization == Quantization::Scheme::kInt8) return;
  if (o.block_size < 1) refuse("block size", "at least 1", text(o.block_size));
  for (const std::int64_t dims : {o.key_dim, o.value_dim})
    if (dims % std::min(o.block_size, dims) != 0 || dims % 2 != 0)
      refuse("block size", "a divisor of an even head dim, " + text(dims),
             text(o.block_size));
}

std::int64_t slots_of(const SampleOptions& o) {
  const bool rolling = o.layout == Layout::kRing || o.layout == Layout::kShift;
  return rolling && o.window > 0 ? std::min(o.window, o.sequence_length)
                                 : o.sequence_length;
}

std::int64_t filled_of(const SampleOptions& o, std::int64_t tokens) {
  const std::int64_t room = o.sequence_length - tokens;
  if (!bounded(o.layout))
    return o.filled.value_or(
        o.keys_in_cache ? std::max<std::int64_t>(slots_of(o) - tokens, 0)
                        : o.sequence_length - std::min(tokens, o.prompt));
  if (o.filled.value_or(0) > room || room < 0)
    refuse("filled, prompt and steps",
           "together at most the sequence length, " + text(o.sequence_length),
           text(o.filled.value_or(0) + tokens));
  return o.filled.value_or(room);
}

// Tokens of one step must not overwrite each other, nor a dump of after the
// trace have lost what its tokens saw.
void check_rolling(const SampleOptions& o, const SamplePlan& plan) {
  if (bounded(o.layout)) return;
  if (o.trace && o.prompt > plan.extent)
    refuse("prompt", "at most the extent, " + text(plan.extent), text(o.prompt),
           "use --prompt " + text(plan.extent));
  if (o.keys_in_cache && plan.filled + plan.tokens > plan.extent)
    refuse("keys in cache", "a trace that overwrites nothing",
           text(plan.filled + plan.tokens) + " positions in " +
               text(plan.extent) + " slots");
}

void pad(const SampleOptions& o, SamplePlan& plan) {
  plan.padded = plan.filled > 0 ? plan.filled : std::min(plan.tokens, o.prompt);
  plan.pads.assign(static_cast<std::size_t>(plan.rows), 0);
  plan.starts = plan.pads;
  plan.first.assign(static_cast<std::size_t>(plan.rows), plan.filled);
  if (o.padding == Padding::kNone) return;
  for (std::int64_t row = 0; row < plan.rows; ++row)
    plan.pads[static_cast<std::size_t>(row)] =
        plan.padded * (row + 1) / (plan.rows + 1);
  const bool growing = o.layout == Layout::kGrowing;
  if (o.padding == Padding::kLeft) {
    if (!growing) plan.starts = plan.pads;
    plan.masks = bounded(o.layout);
    plan.blank = !plan.masks && (plan.filled > 0 || plan.after);
  } else if (growing || plan.filled == 0) {
    plan.masks = true;
  } else {
    for (std::size_t row = 0; row < plan.pads.size(); ++row)
      plan.first[row] -= plan.pads[row];
  }
}

void set_steps(const SampleOptions& o, SamplePlan& plan) {
  if (plan.tokens == 0) return;
  if (o.prompt > 0) plan.lengths.push_back(o.prompt);
  plan.lengths.insert(plan.lengths.end(), static_cast<std::size_t>(o.steps), 1);
}

}  // namespace

bool SamplePlan::masked(const SampleOptions& options, std::int64_t row,
                        std::int64_t position) const {
  if (!masks) return false;
  const std::int64_t count = pads[static_cast<std::size_t>(row)];
  if (options.padding == Padding::kLeft) return position < count;
  return position >= padded - count && position < padded;
}

SamplePlan sample_plan(const SampleOptions& options) {
  check_sizes(options);
  SamplePlan plan;
  const auto rows = checked_product(options.batch_axes);
  if (!rows) refuse("batch axes", "a product below 2^63", "more");
  plan.rows = options.batch_axes.empty() ? options.batch_size : *rows;
  plan.value_heads = options.value_heads.value_or(options.key_heads);
  check_products(options, plan.rows);
  check_heads(options, plan.value_heads);
  check_axes(options, plan.value_heads);
  check_quantization(options);
  plan.tokens = options.trace ? options.prompt + options.steps : 0;
  plan.after = options.keys_in_cache;
  plan.filled = filled_of(options, plan.tokens);
  plan.extent =
      options.layout == Layout::kGrowing ? plan.filled : slots_of(options);
  check_rolling(options, plan);
  check_memory(options, plan);
  set_steps(options, plan);
  pad(options, plan);
  return plan;
}

std::vector<Axis> sample_axes(const SampleOptions& options,
                              const SamplePlan& plan, std::int64_t slots,
                              std::int64_t heads, std::int64_t dims) {
  std::vector<Axis> axes;
  const Axis layer{AxisKind::kLayer, "layer", options.layers};
  std::vector<std::string> names = words(options.axes);
  const bool named = std::count(names.begin(), names.end(), "layer") > 0;
  if (options.stacked && !named) axes.push_back(layer);
  for (const std::string& name : names) {
    if (name == "layer") axes.push_back(layer);
    if (name == "position") axes.push_back({AxisKind::kPosition, name, slots});
    if (name == "head") axes.push_back({AxisKind::kHead, name, heads});
    if (name == "dim") axes.push_back({AxisKind::kDim, name, dims});
    if (name != "batch") continue;
    if (options.batch_axes.empty())
      axes.push_back({AxisKind::kBatch, name, plan.rows});
    for (std::size_t i = 0; i < options.batch_axes.size(); ++i)
      axes.push_back(
          {AxisKind::kBatch, name + std::to_string(i), options.batch_axes[i]});
  }
  return axes;
}

}  // namespace kvtape
