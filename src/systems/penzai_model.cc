// penzai's caches in terms of the model.
#include <fmt/format.h>

#include <limits>
#include <utility>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/penzai_array.h"

namespace kvtape::penzai {
namespace {

std::int64_t rows_of(const NamedShape& batch_axes) {
  return count_of(batch_axes);
}

// Each row's index, [batch axes].
Tensor index_of(const NamedShape& batch_axes, std::int64_t end_index) {
  if (end_index < std::numeric_limits<std::int32_t>::min() ||
      end_index > std::numeric_limits<std::int32_t>::max())
    throw Error({.field = "cache_end_index",
                 .expected = "an int32",
                 .found = std::to_string(end_index)});
  Values values{.dtype = DType::kI32, .axes = batch_axes};
  if (values.axes.empty()) values.axes.push_back({"batch", 1});
  values.values.assign(static_cast<std::size_t>(rows_of(values.axes)),
                       static_cast<double>(end_index));
  return array_of(values);
}

CacheMetadata metadata_of(const std::vector<const KVCache*>& caches,
                          std::int64_t rows, std::int64_t cache_len) {
  CacheMetadata metadata;
  metadata.batch_size = rows;
  metadata.sequence_length = cache_len;
  metadata.num_hidden_layers = std::ssize(caches);
  if (caches.empty()) return metadata;
  const KVCache& first = *caches.front();
  metadata.key_heads = extent(first.key, AxisKind::kHead);
  metadata.value_heads = extent(first.value, AxisKind::kHead);
  metadata.key_dim = extent(first.key, AxisKind::kDim);
  metadata.value_dim = extent(first.value, AxisKind::kDim);
  return metadata;
}

Cache cache_of(const std::vector<const KVCache*>& caches,
               const NamedShape& batch_axes, std::int64_t cache_len,
               std::int64_t end_index) {
  Cache cache;
  cache.metadata = metadata_of(caches, rows_of(batch_axes), cache_len);
  for (std::size_t number = 0; number < caches.size(); ++number) {
    const auto layer_index = static_cast<std::int64_t>(number);
    LayerCache& layer = cache.layers[layer_index];
    layer.key = caches[number]->key;
    layer.value = caches[number]->value;
    layer.index = index_of(batch_axes, end_index);
    layer.layer_index = layer_index;
  }
  cache.attention.masked_rows = MaskedRows::kUniform;
  if (!caches.empty() && caches.front()->key.dtype == DType::kF16)
    cache.attention.masked_rows = MaskedRows::kNaN;
  cache.rotary.keys_rotated = true;
  return cache;
}

// The tensor with penzai's names for its axes, those of batches as they are.
NamedArray renamed(Tensor tensor, const std::string& object) {
  if (tensor.quantized())
    throw Error({.object = object,
                 .field = "quantization",
                 .expected = "none",
                 .found = "a quantized tensor"});
  for (Axis& axis : tensor.axes) {
    if (axis.kind == AxisKind::kPosition) axis.name = "seq";
    if (axis.kind == AxisKind::kDim) axis.name = "projection";
    if (axis.kind == AxisKind::kHead && axis.name != "head_groups")
      axis.name = "heads";
  }
  return tensor;
}

void check_linear(const LayerCache& layer, const std::string& object) {
  const bool linear = !layer.slot_position &&
                      layer.layout.value_or(Layout::kLinear) == Layout::kLinear;
  if (!layer.key || !layer.value || !linear)
    throw Error({.object = object,
                 .expected = "keys and values in slots of their positions",
                 .found = linear ? "none" : "other slots"});
  if (layer.starts)
    for (const std::int64_t start : integers(*layer.starts))
      if (start != 0)
        throw Error({.object = object + "/starts",
                     .expected = "0 in all rows",
                     .found = std::to_string(start)});
}

void take_end_index(const LayerCache& layer, const std::string& object,
                    std::optional<std::int64_t>& end_index) {
  if (!layer.index) return;
  for (const std::int64_t index : integers(*layer.index)) {
    if (end_index && *end_index != index)
      throw Error({.object = object + "/index",
                   .expected = fmt::format("{}, as in other rows and layers",
                                           *end_index),
                   .found = std::to_string(index)});
    end_index = index;
  }
}

}  // namespace

Cache to_cache(const KVCachingTransformerLM& model) {
  std::vector<const KVCache*> caches;
  for (const KVCachingAttention& attention : model.attentions)
    caches.push_back(&attention.kv_cache);
  Cache cache = cache_of(caches, model.batch_axes, model.cache_len,
                         model.cache_end_index);
  cache.metadata.pad_token_id = model.pad_id;
  cache.tokens = model.previous_tokens;
  return cache;
}

Cache to_cache(const GemmaKVCachingState& state) {
  std::vector<const KVCache*> caches;
  for (const KVCache& cache : state.kv_caches) caches.push_back(&cache);
  return cache_of(caches, state.batch_axes, state.cache_len,
                  state.cache_end_index);
}

GemmaKVCachingState state_from_cache(const Cache& cache) {
  GemmaKVCachingState state;
  std::optional<std::int64_t> end_index;
  for (const auto& [number, layer] : cache.layers) {
    const std::string object = fmt::format("/layers/{}", number);
    check_linear(layer, object);
    take_end_index(layer, object, end_index);
    state.kv_caches.push_back(
        {.key = renamed(*layer.key, object + "/key"),
         .value = renamed(*layer.value, object + "/value"),
         .label = fmt::format("kv_cache_{}", number)});
  }
  state.cache_end_index = end_index.value_or(0);
  if (state.kv_caches.empty()) return state;
  const NamedArray& key = state.kv_caches.front().key;
  state.cache_len = extent(key, AxisKind::kPosition);
  for (const Axis& axis : key.axes)
    if (axis.kind == AxisKind::kBatch)
      state.batch_axes.push_back({axis.name, axis.size});
  return state;
}

}  // namespace kvtape::penzai
