// A log of operations on a cache, each in the words of its system: what
// /trace/operations of a cache file holds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/mode.h"
#include "kvtape/tensor.h"

namespace kvtape {

enum class OperationKind : std::uint8_t {
  kConcatenateToCache,   // EasyDeL: TransformerCacheView.concatenate_to_cache
  kConcatenate,          // EasyDeL: AttentionModule.concatenate
  kInsert,               // EasyDeL: TransformerCache.insert
  kInsertIndex,          // EasyDeL: TransformerCache.insert_index
  kInsertStarts,         // EasyDeL: TransformerCache.insert_starts
  kAppend,               // TransformerLens: an entry's append
  kAppendAttentionMask,  // TransformerLens: the cache's append_attention_mask
  kFreeze,               // TransformerLens: of the cache or of one entry
  kUnfreeze,             // TransformerLens: likewise
  kSetEndIndex,          // penzai: kv_cache_end_index, of all layers or of one
};
/// "concatenate_to_cache", "concatenate", "insert", "insert_index",
/// "insert_starts", "append", "append_attention_mask", "freeze", "unfreeze",
/// "set_end_index".
std::string_view name(OperationKind kind);
std::optional<OperationKind> operation_kind_from_name(std::string_view name);

/// What the system gave, as far as it was recorded.
struct OperationResult {
  std::optional<Tensor> key;    // returned, not stored: [batch, position, ...]
  std::optional<Tensor> value;  // likewise
  std::optional<Tensor> mask;   // returned: [batch, head, token, position]
  std::map<std::int64_t, LayerCache> layers;  // of the cache afterwards
  std::optional<Tensor> attention_mask;       // likewise
};

/// One operation; only the arguments of its kind are read.
struct Operation {
  std::optional<OperationKind> kind;  // absent: not known, it cannot be done
  /// concatenate*, append: the one whose cache changes; freeze, unfreeze,
  /// set_end_index: absent means all.
  std::optional<std::int64_t> layer;
  std::optional<Tensor> key;    // concatenate*, append: [batch, token, ...]
  std::optional<Tensor> value;  // likewise

  std::optional<std::int64_t> query_length;    // absent: the tokens of key
  std::optional<Tensor> attention_mask;        // absent: all ones
  std::optional<Tensor> causal_mask;           // [1 or batch, 1, row, position]
  std::optional<Tensor> token_type_ids;        // [batch, token]
  std::optional<std::int64_t> sliding_window;  // of concatenate

  /// concatenate*, insert: "none", "8bit" or "nf4"; absent: as it is stored.
  std::optional<std::string> quantization;
  std::optional<std::int64_t> block_size;  // of nf4

  std::optional<std::int64_t> slot;       // insert*
  std::optional<Cache> other;             // insert
  std::optional<Tensor> values;           // insert_index, insert_starts
  std::optional<std::int64_t> end_index;  // set_end_index

  std::optional<std::string> error;  // the system failed, with this text
  std::optional<OperationResult> result;
};

/// Names of the arguments that its kind needs and that are absent; "op" where
/// it is not known.
std::vector<std::string_view> missing_arguments(const Operation& operation);

/// By number, in the order in which they were done.
using OperationLog = std::map<std::int64_t, Operation>;

/// A cache while operations change it.
struct OperatedCache {
  Cache cache;
  /// TransformerLens: tokens that frozen layers were given, and did not keep.
  std::map<std::int64_t, std::int64_t> not_kept;
  /// TransformerLens: the cache's own flag; absent: as all its layers.
  std::optional<bool> frozen;
};

/// What an operation returns besides the changed cache.
struct OperationOutput {
  std::optional<Tensor> key;
  std::optional<Tensor> value;
  std::optional<Tensor> mask;
};

/// Does one operation as its system does it. Throws Error where that fails or
/// arguments are missing; in checked mode, also where the system would go wrong
/// without a word. The cache is unchanged then, but for a faithful insert of
/// too few layers.
OperationOutput execute(OperatedCache& state, const Operation& operation,
                        Mode mode = Mode::kChecked);

}  // namespace kvtape
