// A key/value cache: metadata, layers, masks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "kvtape/attention.h"
#include "kvtape/metadata.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// How slots are used as a decode goes on.
enum class Layout : std::uint8_t {
  kLinear,   // slot = position; a fixed extent
  kRing,     // slot = position mod extent
  kShift,    // the oldest rows are dropped, the newest stand last
  kGrowing,  // every step makes the cache longer
};
std::string_view name(Layout value);  // "linear", "ring", "shift", "growing"
std::optional<Layout> layout_from_name(std::string_view name);

/// One layer (EasyDeL: a view, TransformerLens: an entry).
struct LayerCache {
  std::optional<Tensor> key;     // [batch, position, key_head, key_dim]
  std::optional<Tensor> value;   // [batch, position, value_head, value_dim]
  std::optional<Tensor> index;   // [batch]: positions filled
  std::optional<Tensor> starts;  // [batch]: first real position
  std::optional<Tensor> slot_position;  // [batch, position], -1 = empty
  std::optional<std::int64_t> layer_index;
  std::optional<bool> frozen;          // keeps nothing of a step
  std::optional<std::int64_t> window;  // 0 = full attention; counts the token
  std::optional<Layout> layout;        // absent: linear
  AttentionSpec attention;             // overrides Cache::attention
  RotarySpec rotary;                   // overrides Cache::rotary
};

/// A cache as one of the systems holds it. Layers are numbered as the source
/// numbers them; one that is not in the map is absent.
struct Cache {
  CacheMetadata metadata;
  std::map<std::int64_t, LayerCache> layers;
  AttentionSpec attention;
  RotarySpec rotary;
  std::optional<Tensor> attention_mask;  // [batch, position]
  std::optional<Tensor> tokens;          // [batch, position]
};

}  // namespace kvtape
