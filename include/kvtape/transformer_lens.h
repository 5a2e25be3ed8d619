// The key/value cache of TransformerLens (past_key_value_caching.py), in its
// own words: HookedTransformerKeyValueCache and ...KeyValueCacheEntry.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/dtype.h"
#include "kvtape/mode.h"
#include "kvtape/tensor.h"

namespace kvtape::transformer_lens {

/// What a cache reads of a HookedTransformerConfig.
struct Config {
  std::int64_t n_layers = 0;
  std::int64_t n_heads = 0;
  std::optional<std::int64_t> n_key_value_heads;  // 0 counts as given
  std::int64_t d_head = 0;
  DType dtype = DType::kF32;
  std::optional<std::int64_t> n_ctx;
};

/// What append() returns: all positions, stored or not.
struct Appended {
  Tensor keys;    // [batch, pos, n_heads, d_head]
  Tensor values;  // [batch, pos, n_heads, d_head]
};

/// One layer. Keys are those before rotary embedding. Appending costs what is
/// appended, and tensors that were returned keep their values.
struct KeyValueCacheEntry {
  Tensor past_keys;    // [batch, pos, n_heads, d_head]
  Tensor past_values;  // [batch, pos, n_heads, d_head]
  bool frozen = false;

  /// Not in TransformerLens, for checked mode: the model's context, and how
  /// many tokens were appended since the entry was frozen.
  std::optional<std::int64_t> n_ctx;
  std::int64_t not_kept = 0;

  static KeyValueCacheEntry init_cache_entry(const Config& cfg,
                                             std::int64_t batch_size = 1);

  std::int64_t length() const;
  void freeze() { frozen = true; }
  void unfreeze();

  /// Past and new tokens, stored unless frozen. The dtype is what torch.cat
  /// promotes to: it may widen the whole cache, which checked mode refuses, as
  /// it refuses a second append to a frozen entry (it does not see the first)
  /// and one beyond n_ctx (the attention that follows fails).
  /// Throws Error where torch.cat fails; nothing is changed then.
  Appended append(const Tensor& new_keys, const Tensor& new_values,
                  Mode mode = Mode::kChecked);
};

struct KeyValueCache {
  std::vector<KeyValueCacheEntry> entries;
  Tensor previous_attention_mask;  // int [batch, pos]
  bool frozen = false;

  static KeyValueCache init_cache(const Config& cfg,
                                  std::int64_t batch_size = 1);

  /// As a Python list: -1 is the last. Throws Error beyond the ends.
  KeyValueCacheEntry& operator[](std::int64_t index);
  const KeyValueCacheEntry& operator[](std::int64_t index) const;

  void freeze();
  void unfreeze();

  /// The mask of the new tokens after that of the past ones, stored unless
  /// frozen. TransformerLens calls it once per forward, before the entries
  /// grow, and checks no length; checked mode refuses a mask that does not
  /// stand at the end of every entry, and one of another dtype class.
  Tensor append_attention_mask(const Tensor& attention_mask,
                               Mode mode = Mode::kChecked);
};

using HookedTransformerKeyValueCache = KeyValueCache;
using HookedTransformerKeyValueCacheEntry = KeyValueCacheEntry;

/// What torch.cat makes of two dtypes (torch.promote_types).
/// Throws Error for the unsigned integers that torch does not have.
DType promoted(DType a, DType b);

/// The same cache as the model of kvtape/cache.h, and back. Bytes are shared.
Cache to_cache(const KeyValueCache& cache);
/// Throws Error where a layer lacks keys or values, or is quantized.
KeyValueCache from_cache(const Cache& cache);

}  // namespace kvtape::transformer_lens
