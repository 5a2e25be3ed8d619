// TransformerLens' dtypes, and its caches in terms of the model.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kvtape/error.h"
#include "kvtape/transformer_lens.h"

namespace kvtape::transformer_lens {
namespace {

// Ranks within torch's categories: bool, integers, floats.
int category(DType dtype) {
  if (is_float(dtype)) return 2;
  return dtype == DType::kBool ? 0 : 1;
}

void check_in_torch(DType dtype) {
  if (dtype == DType::kU16 || dtype == DType::kU32 || dtype == DType::kU64)
    throw Error({.field = "dtype",
                 .expected = "a dtype of torch",
                 .found = std::string(name(dtype))});
}

// Two integers: the wider; u8 and i8 need i16.
DType wider_integer(DType a, DType b) {
  if (bytes_per_element(a) == 1 && bytes_per_element(b) == 1)
    return DType::kI16;
  return bytes_per_element(a) < bytes_per_element(b) ? b : a;
}

// Two floats that differ: f16 and bf16 need f32.
DType wider_float(DType a, DType b) {
  return a == DType::kF64 || b == DType::kF64 ? DType::kF64 : DType::kF32;
}

Tensor row_numbers(const Tensor& like, std::int32_t value) {
  std::vector<Axis> axes;
  std::int64_t rows = 1;
  for (const Axis& axis : like.axes)
    if (axis.kind == AxisKind::kBatch) {
      axes.push_back(axis);
      rows *= axis.size;
    }
  const std::vector<std::int32_t> numbers(static_cast<std::size_t>(rows),
                                          value);
  std::vector<std::byte> bytes(numbers.size() * sizeof(std::int32_t));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return make_tensor(DType::kI32, std::move(axes), std::move(bytes));
}

LayerCache layer_of(const KeyValueCacheEntry& entry, std::int64_t number) {
  LayerCache layer;
  layer.key = entry.past_keys;
  layer.value = entry.past_values;
  layer.index =
      row_numbers(entry.past_keys, static_cast<std::int32_t>(entry.length()));
  layer.starts = row_numbers(entry.past_keys, 0);
  layer.layer_index = number;
  layer.frozen = entry.frozen;
  layer.layout = Layout::kGrowing;
  return layer;
}

CacheMetadata metadata_of(const KeyValueCache& cache) {
  CacheMetadata metadata{.num_hidden_layers =
                             static_cast<std::int64_t>(cache.entries.size())};
  if (cache.entries.empty()) return metadata;
  const KeyValueCacheEntry& first = cache.entries.front();
  metadata.batch_size = extent(first.past_keys, AxisKind::kBatch);
  metadata.sequence_length = std::max<std::int64_t>(first.length(), 1);
  metadata.key_heads = extent(first.past_keys, AxisKind::kHead);
  metadata.value_heads = extent(first.past_values, AxisKind::kHead);
  metadata.key_dim = extent(first.past_keys, AxisKind::kDim);
  metadata.value_dim = extent(first.past_values, AxisKind::kDim);
  return metadata;
}

const Tensor& plain(const std::optional<Tensor>& tensor, std::int64_t layer,
                    const char* field) {
  if (tensor && !tensor->quantized()) return *tensor;
  throw Error({.object = "/layers/" + std::to_string(layer),
               .field = field,
               .expected = "plain numbers",
               .found = tensor ? "a quantized tensor" : "none"});
}

}  // namespace

DType promoted(DType a, DType b) {
  check_in_torch(a);
  check_in_torch(b);
  if (a == b) return a;
  if (category(a) != category(b)) return category(a) < category(b) ? b : a;
  return is_float(a) ? wider_float(a, b) : wider_integer(a, b);
}

Cache to_cache(const KeyValueCache& cache) {
  Cache result;
  result.metadata = metadata_of(cache);
  for (const KeyValueCacheEntry& entry : cache.entries) {
    const auto number = static_cast<std::int64_t>(result.layers.size());
    result.layers[number] = layer_of(entry, number);
  }
  result.attention_mask = cache.previous_attention_mask;
  return result;
}

KeyValueCache from_cache(const Cache& cache) {
  KeyValueCache result =
      KeyValueCache::init_cache({.n_layers = 0}, cache.metadata.batch_size);
  for (const auto& [number, layer] : cache.layers)
    result.entries.push_back(
        {.past_keys = plain(layer.key, number, "key"),
         .past_values = plain(layer.value, number, "value"),
         .frozen = layer.frozen.value_or(false)});
  result.frozen =
      !result.entries.empty() &&
      std::all_of(result.entries.begin(), result.entries.end(),
                  [](const KeyValueCacheEntry& each) { return each.frozen; });
  if (cache.attention_mask)
    result.previous_attention_mask = *cache.attention_mask;
  return result;
}

}  // namespace kvtape::transformer_lens
