// What `info` tells in text and in JSON alike.
#include "report/info_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>

#include "core/checked.h"

namespace kvtape {
namespace {

constexpr std::int64_t kSmall = 1 << 20;  // elements

std::optional<std::int64_t> either(std::optional<std::int64_t> first,
                                   std::optional<std::int64_t> second) {
  return first ? first : second;
}

// The first layer's tensor of a kind, which stands for all.
const Tensor* first_tensor(const Cache& cache,
                           std::optional<Tensor> LayerCache::*member) {
  for (const auto& [number, layer] : cache.layers) {
    if (layer.*member) return &*(layer.*member);
  }
  return nullptr;
}

std::optional<std::int64_t> extent_of(const Tensor* tensor, AxisKind kind) {
  if (tensor == nullptr) return {};
  return extent(*tensor, kind);
}

std::string number(double value) { return fmt::format("{:.7g}", value); }

std::string rotated(std::string_view what, bool is_rotated) {
  return fmt::format("{} {}rotated", what, is_rotated ? "" : "not ");
}

std::string frequencies(const RotarySpec& spec, const Rotary& rotary) {
  return spec.inv_freq
             ? fmt::format("{} frequencies given", spec.inv_freq->size())
             : "theta " + number(rotary.theta);
}

bool is_weight(std::string_view path) {
  return path.starts_with("/layers/") && path.find("/weights/") != path.npos;
}

}  // namespace

Dimensions dimensions(const Cache& cache) {
  const CacheMetadata& said = cache.metadata;
  const Tensor* key = first_tensor(cache, &LayerCache::key);
  const Tensor* value = first_tensor(cache, &LayerCache::value);
  return {.key_heads = either(extent_of(key, AxisKind::kHead),
                              either(said.key_heads, said.num_heads)),
          .value_heads = either(extent_of(value, AxisKind::kHead),
                                either(said.value_heads, said.num_heads)),
          .key_dim = either(extent_of(key, AxisKind::kDim),
                            either(said.key_dim, said.head_dim)),
          .value_dim = either(extent_of(value, AxisKind::kDim),
                              either(said.value_dim, said.head_dim))};
}

std::optional<std::vector<std::int64_t>> readable_integers(
    const std::optional<Tensor>& tensor) {
  if (!tensor || is_float(tensor->dtype) || tensor->quantized()) return {};
  if (element_count(*tensor) > kSmall || !tensor->source->has_values())
    return {};
  return integers(*tensor);
}

std::string_view name(AxisKind kind) {
  constexpr std::array<std::string_view, 6> kNames{
      "batch", "position", "token", "head", "dim", "layer"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view stored_as(const Tensor& tensor) {
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kInt8:
      return "8bit";
    case Quantization::Scheme::kNF4:
      return "nf4";
    case Quantization::Scheme::kNone:
      break;
  }
  return name(tensor.dtype);
}

bool is_mapped(const Tensor& tensor) {
  return tensor.source && !tensor.source->bytes().empty() &&
         tensor.source->storage().layout == "contiguous";
}

std::int64_t layer_bytes(const LayerCache& layer) {
  const std::int64_t key = layer.key ? payload_bytes(*layer.key) : 0;
  const std::int64_t value = layer.value ? payload_bytes(*layer.value) : 0;
  return checked_add(key, value)
      .value_or(std::numeric_limits<std::int64_t>::max());
}

std::int64_t absent_layers(const Cache& cache) {
  const std::int64_t present = std::ssize(cache.layers);
  return std::max(cache.metadata.num_hidden_layers, present) - present;
}

std::vector<Setting> settings(const AttentionSpec& spec,
                              const Dimensions& dimensions) {
  const Attention all = resolved(spec, dimensions.key_heads.value_or(0),
                                 dimensions.key_dim.value_or(0));
  return {
      {fmt::format("{} query heads", all.query_heads),
       spec.query_heads.has_value()},
      {"scale " + number(all.softmax_scale), spec.softmax_scale.has_value()},
      {all.logit_softcap == 0 ? "no softcap"
                              : "softcap " + number(all.logit_softcap),
       spec.logit_softcap.has_value()},
      {fmt::format("key heads {}",
                   all.head_map == HeadMap::kRepeat ? "repeated" : "tiled"),
       spec.head_map.has_value()},
      {fmt::format("{} visibility", name(all.visibility)),
       spec.visibility.has_value()},
      {fmt::format("masked rows {}", name(all.masked_rows)),
       spec.masked_rows.has_value()},
  };
}

std::vector<Setting> settings(const RotarySpec& spec,
                              const Dimensions& dimensions) {
  const Rotary all = resolved(spec, dimensions.key_dim.value_or(0));
  const bool rotates = all.style != RotaryStyle::kNone;
  std::vector<Setting> list{
      {fmt::format("style {}", name(all.style)), spec.style.has_value()}};
  const bool theta_said = spec.theta || spec.inv_freq;
  if (rotates || theta_said) {
    list.push_back({frequencies(spec, all), theta_said});
  }
  if (rotates || spec.dims) {
    list.push_back({fmt::format("{} dims", all.dims), spec.dims.has_value()});
  }
  if (spec.attention_factor) {
    list.push_back({"factor " + number(all.attention_factor), true});
  }
  list.push_back(
      {rotated("keys", all.keys_rotated), spec.keys_rotated.has_value()});
  list.push_back({rotated("queries", all.queries_rotated),
                  spec.queries_rotated.has_value()});
  return list;
}

ExtraCounts count_extras(const Tape& tape) {
  ExtraCounts counts;
  for (const Extra& extra : tape.extras) {
    if (!is_weight(extra.path)) {
      ++counts.others;
    } else if (extra.tensor) {
      ++counts.weights;
    }
  }
  return counts;
}

}  // namespace kvtape
