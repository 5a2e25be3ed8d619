// EasyDeL's TransformerCacheMetaData: what a cache says of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvtape {

/// The twelve fields in EasyDeL's order and with its names.
/// A plain value: only create() validates.
struct CacheMetadata {
  std::int64_t batch_size = 0;
  std::int64_t sequence_length = 0;
  std::int64_t num_hidden_layers = 0;
  std::optional<std::int64_t> pad_token_id;
  std::optional<std::int64_t> num_heads;  // often the number of key heads
  std::optional<std::int64_t> head_dim;
  std::optional<std::int64_t> key_heads;
  std::optional<std::int64_t> value_heads;
  std::optional<std::int64_t> key_dim;
  std::optional<std::int64_t> value_dim;
  bool update_causal_mask = true;
  bool create_attention_bias = true;

  enum class Mode {
    kFaithful,  // exactly what EasyDeL refuses, in its order
    kStrict,    // also what it lets through: negative sizes, no layers, ...
  };

  /// Validates `given` and fills key_heads, value_heads, key_dim, value_dim
  /// from num_heads and head_dim as EasyDeL does (0 counts as missing there).
  /// Throws Error whose text is EasyDeL's message, the first that applies.
  static CacheMetadata create(const CacheMetadata& given,
                              Mode mode = Mode::kFaithful);

  friend bool operator==(const CacheMetadata&, const CacheMetadata&) = default;
};

}  // namespace kvtape
