// The caches of EasyDeL (transformer_cache.py, quantizers.py, attention.py), in
// its own words. TransformerCacheMetaData is CacheMetadata (metadata.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/dtype.h"
#include "kvtape/metadata.h"
#include "kvtape/mode.h"
#include "kvtape/tensor.h"

namespace kvtape::easydel {

using TransformerCacheMetaData = CacheMetadata;

enum class EasyDeLQuantizationMethods : std::uint8_t { kNone, kA8Bit, kNF4 };

/// How a cache is stored: as it is, 8 bits with one scale per row (Array8B), or
/// 4 bits with one absmax per block (ArrayNF4).
struct EasyQuantizer {
  EasyDeLQuantizationMethods quantization_method =
      EasyDeLQuantizationMethods::kNF4;
  std::int64_t block_size = 256;

  /// NF4 leaves a tensor as it is unless block_size divides its number of
  /// elements, which checked mode refuses; the effective block is
  /// min(block_size, head_dim). A quantized tensor comes back as it is.
  /// Throws Error for a dtype other than f32, f16, bf16.
  Tensor operator()(const Tensor& array, Mode mode = Mode::kChecked) const;
};

/// The quantizer that init_cache takes by default.
inline constexpr EasyQuantizer kNoQuantizer{
    .quantization_method = EasyDeLQuantizationMethods::kNone};

/// What the quantized tensor stands for, in its dtype; others as they are.
Tensor materialize(const Tensor& array);

struct TransformerMetadata {
  bool postpadded = false;
  std::optional<std::int64_t> index;
  friend bool operator==(const TransformerMetadata&,
                         const TransformerMetadata&) = default;
};

struct Concatenation;
struct Concatenated;

/// One layer.
struct TransformerCacheView {
  std::optional<Tensor> key;    // [batch, position, key_heads, key_dim]
  std::optional<Tensor> value;  // [batch, position, value_heads, value_dim]
  Tensor index;                 // int32 [batch]: positions written
  Tensor starts;                // [batch]: leading pads
  TransformerCacheMetaData metadata;
  std::optional<std::int64_t> layer_index;

  /// Zeros, quantized. `starts` is taken as it is, of any dtype and length, in
  /// faithful mode; absent: zeros. Throws Error for negative sizes.
  static TransformerCacheView init(
      const TransformerCacheMetaData& metadata, DType dtype,
      const EasyQuantizer& quantizer = kNoQuantizer,
      std::optional<Tensor> starts = {},
      std::optional<std::int64_t> layer_index = {}, Mode mode = Mode::kChecked);

  /// Whether there is no key; a view of zeros is not empty.
  bool is_empty() const { return !key; }

  /// Writes new keys and values at each row's index. This view does not change.
  /// Throws Error where EasyDeL fails; checked mode, also where it would move
  /// the write or the causal mask's rows to stay inside, write only some heads
  /// or dims, advance the index by another number of tokens than it writes, or
  /// read token_type_ids along the wrong axis.
  Concatenated concatenate_to_cache(const Concatenation& arguments,
                                    Mode mode = Mode::kChecked) const;

  struct Changes {
    std::optional<Tensor> key, value, index, starts;
    std::optional<TransformerCacheMetaData> metadata;
    std::optional<std::int64_t> layer_index;
  };
  /// A copy in which the given fields are other ones.
  TransformerCacheView replace(const Changes& changes) const;
};

/// The arguments of concatenate_to_cache that have an effect.
struct Concatenation {
  std::int64_t query_length = 0;  // query.shape[1], which advances the index
  Tensor key;                     // [batch, token, head, dim]
  Tensor value;                   // [batch, token, head, dim]
  Tensor attention_mask;          // [batch, position], or of four axes; not 0
  std::optional<Tensor> causal_mask;     // [1 or batch, 1, row, position]
  std::optional<Tensor> token_type_ids;  // [batch, token]
  EasyQuantizer quantizer = kNoQuantizer;
};

/// EasyDeL returns these four, though its docstring says three.
struct Concatenated {
  Tensor key;    // before it is quantized again, in the cache's dtype
  Tensor value;  // likewise
  Tensor mask;   // bool [batch, 1, query, position]
  TransformerCacheView view;
};

struct TransformerCache {
  std::vector<std::optional<TransformerCacheView>> views;

  static TransformerCache init_cache(
      const TransformerCacheMetaData& metadata, DType dtype = DType::kBF16,
      std::optional<Tensor> starts = {},
      const EasyQuantizer& quantizer = kNoQuantizer,
      Mode mode = Mode::kChecked);
  /// That many absent views; none for a negative number.
  static TransformerCache init_empty(std::int64_t num_hidden_layers);

  std::size_t size() const { return views.size(); }
  /// As a Python list: -1 is the last. Throws Error beyond the ends.
  std::optional<TransformerCacheView>& operator[](std::int64_t index);
  const std::optional<TransformerCacheView>& operator[](
      std::int64_t index) const;

  /// Writes the rows of `other` over those from `slot` on, in place.
  /// Faithful mode wraps a negative slot once and clamps it; leaves what lies
  /// beyond a smaller `other` as it was; and where `other` has fewer layers,
  /// throws after those have been written. Checked mode refuses all that, and
  /// changes nothing then.
  TransformerCache& insert(const TransformerCache& other, std::int64_t slot,
                           const EasyQuantizer& quantizer = kNoQuantizer,
                           Mode mode = Mode::kChecked);
  /// The same values in every layer, from `slot` on. Checked mode refuses
  /// values outside [0, sequence_length] too.
  TransformerCache& insert_index(const std::vector<std::int32_t>& index,
                                 std::int64_t slot, Mode mode = Mode::kChecked);
  TransformerCache& insert_starts(const std::vector<std::int32_t>& starts,
                                  std::int64_t slot,
                                  Mode mode = Mode::kChecked);
};

/// AttentionModule.concatenate: what a model's attention makes of its masks
/// before and after concatenate_to_cache.
struct AttentionModule {
  std::optional<std::int64_t> sliding_window;
  bool causal = true;  // builds a causal mask where none is given

  /// A mask that is not bool is true where it is 1; checked mode refuses other
  /// values than 0 and 1. The window counts rows from the start of the block,
  /// not from the index: checked mode refuses where it does not hide what lies
  /// outside of it.
  Concatenated concatenate(const TransformerCacheView& view,
                           Concatenation arguments,
                           Mode mode = Mode::kChecked) const;
};

/// Slots that AutoRegressiveDecodeAttn attends to, starts <= slot < index,
/// bool [batch, 1, 1, position]. It ignores `mask`, that of concatenate:
/// checked mode refuses where they differ.
/// Throws Error where key_dim is not value_dim.
Tensor decode_mask(const TransformerCacheView& view, const Tensor& mask,
                   Mode mode = Mode::kChecked);

/// Leading pads of each row of ids [batch, position]: what `starts` is made of.
std::vector<std::int32_t> compute_prefill_length(const Tensor& input_ids,
                                                 std::int64_t pad_token_id);

/// The same cache as the model of kvtape/cache.h, and back. Bytes are shared.
/// The model has one metadata record: checked mode refuses views that differ.
Cache to_cache(const TransformerCache& cache, Mode mode = Mode::kChecked);
TransformerCache from_cache(const Cache& cache);

}  // namespace kvtape::easydel
