// Operations of a log, done by the systems' own classes.
#include "kvtape/operations.h"

#include <fmt/format.h>

#include <cstddef>
#include <limits>
#include <utility>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "kvtape/transformer_lens.h"
#include "systems/easydel_checks.h"
#include "systems/silent.h"

namespace kvtape {
namespace {

using Kind = OperationKind;

// Throws Error for a number that the cache does not have.
LayerCache& layer_at(Cache& cache, std::int64_t number) {
  const auto found = cache.layers.find(number);
  if (found == cache.layers.end())
    throw Error({.field = "layer",
                 .expected = "a layer of the cache",
                 .found = std::to_string(number)});
  return found->second;
}

// Of the arguments that the systems hold in 32 bits.
void check_int32(const char* field, const std::optional<std::int64_t>& number,
                 std::int64_t least) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (!number || (*number >= least && *number <= kMost)) return;
  throw Error({.field = field,
               .expected = fmt::format("{} to {}", least, kMost),
               .found = std::to_string(*number)});
}

void check_numbers(const Operation& operation) {
  constexpr std::int64_t kLeast = std::numeric_limits<std::int32_t>::min();
  check_int32("slot", operation.slot, kLeast);
  check_int32("end_index", operation.end_index, kLeast);
  check_int32("query_length", operation.query_length, 0);
  check_int32("sliding_window", operation.sliding_window, kLeast);
  check_int32("block_size", operation.block_size, kLeast);
}

// A cache of that layer only, as its first.
Cache alone(const Cache& cache, const LayerCache& layer) {
  return {.metadata = cache.metadata, .layers = {{0, layer}}};
}

// ---- EasyDeL

easydel::EasyQuantizer quantizer_as_stored(const Tensor& tensor) {
  using Methods = easydel::EasyDeLQuantizationMethods;
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kNone:
      return easydel::kNoQuantizer;
    case Quantization::Scheme::kInt8:
      return {.quantization_method = Methods::kA8Bit};
    case Quantization::Scheme::kNF4:
      return {.quantization_method = Methods::kNF4,
              .block_size = tensor.quantization.block_size};
  }
  return easydel::kNoQuantizer;
}

easydel::EasyQuantizer quantizer_of(const Operation& operation,
                                    const std::optional<Tensor>& stored) {
  using Methods = easydel::EasyDeLQuantizationMethods;
  easydel::EasyQuantizer quantizer;
  if (!operation.quantization)
    return stored ? quantizer_as_stored(*stored) : easydel::kNoQuantizer;
  const std::string& word = *operation.quantization;
  if (word != "none" && word != "8bit" && word != "nf4")
    throw Error({.field = "quantization",
                 .expected = "\"none\", \"8bit\" or \"nf4\"",
                 .found = "\"" + word + "\""});
  quantizer.quantization_method = word == "none"   ? Methods::kNone
                                  : word == "8bit" ? Methods::kA8Bit
                                                   : Methods::kNF4;
  if (operation.block_size) quantizer.block_size = *operation.block_size;
  return quantizer;
}

Tensor all_ones(const Tensor& cache) {
  const std::int64_t rows = extent(cache, AxisKind::kBatch);
  const std::int64_t length = extent(cache, AxisKind::kPosition);
  return make_tensor(
      DType::kBool,
      {{AxisKind::kBatch, "batch", rows},
       {AxisKind::kPosition, "position", length}},
      std::vector<std::byte>(static_cast<std::size_t>(rows * length),
                             std::byte{1}));
}

easydel::Concatenation arguments_of(const Operation& operation,
                                    const LayerCache& layer) {
  easydel::Concatenation arguments{
      .query_length = operation.query_length.value_or(extent(*operation.key,  //
                                                             AxisKind::kToken)),
      .key = *operation.key,
      .value = *operation.value,
      .causal_mask = operation.causal_mask,
      .token_type_ids = operation.token_type_ids,
      .quantizer = quantizer_of(operation, layer.key)};
  if (operation.attention_mask)
    arguments.attention_mask = *operation.attention_mask;
  else if (layer.value)
    arguments.attention_mask = all_ones(*layer.value);
  return arguments;
}

void store(const easydel::TransformerCacheView& view, LayerCache& layer) {
  layer.key = view.key;
  layer.value = view.value;
  layer.index = view.index;
  if (layer.starts) layer.starts = view.starts;
}

OperationOutput concatenate(OperatedCache& state, const Operation& operation,
                            Mode mode) {
  LayerCache& layer = layer_at(state.cache, *operation.layer);
  const auto cache = easydel::from_cache(alone(state.cache, layer));
  const easydel::Concatenation arguments = arguments_of(operation, layer);
  const easydel::TransformerCacheView& view = *cache.views[0];
  const easydel::AttentionModule module{.sliding_window =
                                            operation.sliding_window};
  auto result = operation.kind == Kind::kConcatenate
                    ? module.concatenate(view, arguments, mode)
                    : view.concatenate_to_cache(arguments, mode);
  store(result.view, layer);
  return {.key = std::move(result.key),
          .value = std::move(result.value),
          .mask = std::move(result.mask)};
}

void store(const easydel::TransformerCache& cache, Cache& to) {
  for (auto& [number, layer] : to.layers)
    store(*cache.views[static_cast<std::size_t>(number)], layer);
}

void insert(OperatedCache& state, const Operation& operation, Mode mode) {
  auto cache = easydel::from_cache(state.cache);
  const auto other = easydel::from_cache(*operation.other);
  const auto& layers = state.cache.layers;
  const auto quantizer = quantizer_of(
      operation, layers.empty() ? std::nullopt : layers.begin()->second.key);
  try {
    cache.insert(other, *operation.slot, quantizer, mode);
  } catch (const Error&) {
    store(cache, state.cache);  // layers that were done before it failed
    throw;
  }
  store(cache, state.cache);
}

std::vector<std::int32_t> int32_values(const Tensor& tensor) {
  std::vector<std::int32_t> result;
  for (const std::int64_t value : integers(tensor)) {
    if (value < std::numeric_limits<std::int32_t>::min() ||
        value > std::numeric_limits<std::int32_t>::max())
      throw Error({.field = "values",
                   .expected = "numbers of 32 bits",
                   .found = std::to_string(value)});
    result.push_back(static_cast<std::int32_t>(value));
  }
  return result;
}

void insert_values(OperatedCache& state, const Operation& operation,
                   Mode mode) {
  auto cache = easydel::from_cache(state.cache);
  const auto values = int32_values(*operation.values);
  if (operation.kind == Kind::kInsertIndex) {
    cache.insert_index(values, *operation.slot, mode);
  } else {
    cache.insert_starts(values, *operation.slot, mode);
    for (auto& [number, layer] : state.cache.layers)
      layer.starts = cache.views[static_cast<std::size_t>(number)]->starts;
  }
  store(cache, state.cache);
}

// ---- TransformerLens

OperationOutput append(OperatedCache& state, const Operation& operation,
                       Mode mode) {
  const std::int64_t number = *operation.layer;
  LayerCache& layer = layer_at(state.cache, number);
  auto cache = transformer_lens::from_cache(alone(state.cache, layer));
  auto& entry = cache.entries[0];
  entry.not_kept = state.not_kept[number];
  auto result = entry.append(*operation.key, *operation.value, mode);
  state.not_kept[number] = entry.not_kept;
  const LayerCache after = transformer_lens::to_cache(cache).layers.at(0);
  layer.key = after.key;
  layer.value = after.value;
  if (layer.index) layer.index = after.index;
  return {.key = std::move(result.keys), .value = std::move(result.values)};
}

OperationOutput append_mask(OperatedCache& state, const Operation& operation,
                            Mode mode) {
  auto cache = transformer_lens::from_cache(state.cache);
  cache.frozen = state.frozen.value_or(cache.frozen);
  Tensor mask = cache.append_attention_mask(*operation.attention_mask, mode);
  state.cache.attention_mask = cache.previous_attention_mask;
  return {.mask = std::move(mask)};
}

void set_frozen(OperatedCache& state, const Operation& operation, bool frozen) {
  if (operation.layer) {
    layer_at(state.cache, *operation.layer).frozen = frozen;
    if (!frozen) state.not_kept.erase(*operation.layer);
    return;
  }
  state.frozen = frozen;
  for (auto& [number, layer] : state.cache.layers) layer.frozen = frozen;
  if (!frozen) state.not_kept.clear();
}

// ---- penzai

// The next write begins there; penzai moves it to stay inside.
void check_end_index(const LayerCache& layer, std::int64_t end_index) {
  if (!layer.key) return;
  const std::int64_t length = extent(*layer.key, AxisKind::kPosition);
  if (end_index >= 0 && end_index <= length) return;
  refuse_silent({.field = "end_index",
                 .expected = fmt::format("0 to {}", length),
                 .found = std::to_string(end_index)},
                "penzai keeps it, and moves the next write to stay inside");
}

void set_end_index(OperatedCache& state, const Operation& operation,
                   Mode mode) {
  const std::int64_t end = *operation.end_index;
  std::vector<LayerCache*> layers;
  if (operation.layer) layers = {&layer_at(state.cache, *operation.layer)};
  if (!operation.layer)
    for (auto& [number, layer] : state.cache.layers) layers.push_back(&layer);
  for (const LayerCache* layer : layers)
    if (mode == Mode::kChecked) check_end_index(*layer, end);
  for (LayerCache* layer : layers) {
    const std::int64_t rows =
        layer->key ? extent(*layer->key, AxisKind::kBatch)
                   : (layer->index ? element_count(*layer->index) : 0);
    layer->index = easydel::int_row(
        std::vector<std::int64_t>(static_cast<std::size_t>(rows), end));
  }
}

}  // namespace

OperationOutput execute(OperatedCache& state, const Operation& operation,
                        Mode mode) {
  if (const auto missing = missing_arguments(operation); !missing.empty())
    throw Error({.field = std::string(missing.front()),
                 .expected = "an argument of that name",
                 .found = "none"});
  check_numbers(operation);
  switch (*operation.kind) {
    case Kind::kConcatenateToCache:
    case Kind::kConcatenate:
      return concatenate(state, operation, mode);
    case Kind::kAppend:
      return append(state, operation, mode);
    case Kind::kAppendAttentionMask:
      return append_mask(state, operation, mode);
    case Kind::kInsert:
      insert(state, operation, mode);
      break;
    case Kind::kInsertIndex:
    case Kind::kInsertStarts:
      insert_values(state, operation, mode);
      break;
    case Kind::kFreeze:
    case Kind::kUnfreeze:
      set_frozen(state, operation, operation.kind == Kind::kFreeze);
      break;
    case Kind::kSetEndIndex:
      set_end_index(state, operation, mode);
      break;
  }
  return {};
}

}  // namespace kvtape
