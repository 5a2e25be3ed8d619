// The caching attention of penzai (penzai/nn/attention.py and the v1 one in
// penzai/deprecated/v1; sampling_mode.py of Gemma and of TransformerLM), in its
// own words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/mode.h"
#include "kvtape/penzai_layers.h"

namespace kvtape::penzai {

// Attention ------------------------------------------------------------------

/// Without a cache.
struct Attention {
  Sequential input_to_query, input_to_key, input_to_value;
  Sequential query_key_to_attn, attn_value_to_output;

  NamedArray operator()(const NamedArray& x, const SideInputs& inputs) const;
};

/// A state variable and its name, which v1 makes of the model's structure.
struct KVCache {
  NamedArray key, value;
  std::string label;
};

/// A static field, a sublayer or the state of a KVCachingAttention.
using Field = std::variant<std::string, Sequential, KVCache>;
using Attributes = std::vector<std::pair<std::string, Field>>;

/// Names of children in their order, and the fields that are none.
struct StructStaticMetadata {
  std::vector<std::string> child_field_names;
  Attributes static_fields;
};

/// An array somewhere in a layer: ".input_to_query.sublayers[0].weights".
struct Leaf {
  std::string path;
  NamedArray array;
};

/// Classes that behave alike: v1's, v1's of Gemma, v2's.
inline constexpr std::string_view kV1Attention =
    "penzai.deprecated.v1.nn.attention.KVCachingAttention";
inline constexpr std::string_view kGemmaAttention =
    "penzai.deprecated.v1.example_models.gemma.sampling_mode."
    "GemmaKVCachingAttention";
inline constexpr std::string_view kV2Attention =
    "penzai.nn.attention.KVCachingAttention";

struct KVCachingAttention {
  Sequential input_to_query, input_to_key, input_to_value;
  Sequential query_key_to_attn, attn_value_to_output;
  std::string sequence_axis = "seq";
  /// The side input that tells how many slots are filled. v2 calls this field
  /// kv_cache_end_index_key.
  std::string kv_cache_end_index = "cache_end_index";
  KVCache kv_cache;
  /// The class: names of fields and the colour depend on it.
  std::string_view type = kV1Attention;

  /// Zeros of `cached_axes`, in their order, then the sequence axis. One that
  /// is among them keeps its place and loses its size, which checked mode
  /// refuses.
  static KVCachingAttention from_uncached(
      const Attention& original, const std::string& sequence_axis,
      std::int64_t cache_len, const NamedShape& cached_axes,
      const std::string& cache_end_index, const std::string& cache_label = {},
      DType cache_dtype = DType::kF32, Mode mode = Mode::kChecked);

  /// The output for new tokens, and writes their keys and values to the cache.
  /// Throws Error where penzai fails; checked mode, also where it would clamp
  /// or wrap the write, add an axis to the cache, or repeat the tokens along
  /// one that they lack. Nothing is changed then.
  NamedArray operator()(const NamedArray& x, const SideInputs& inputs,
                        Mode mode = Mode::kChecked);

  /// Of the first and the last linear map; operator() checks both.
  ArraySpec input_structure() const;
  ArraySpec output_structure() const;

  // Struct: fields in the order of the class.
  Attributes attributes_dict() const;
  /// Throws Error with penzai's text unless each field is given, and once.
  static KVCachingAttention from_attributes(
      const Attributes& fields, std::string_view type = kV1Attention);
  static std::string key_for_field(const std::string& field_name);
  std::pair<std::vector<Field>, StructStaticMetadata> tree_flatten() const;
  std::pair<Attributes, StructStaticMetadata> tree_flatten_with_keys() const;
  static KVCachingAttention tree_unflatten(
      const StructStaticMetadata& aux_data, const std::vector<Field>& children,
      std::string_view type = kV1Attention);
  /// All arrays, in the order in which jax.tree_util lists them.
  std::vector<Leaf> leaves() const;
  /// The layer with these arrays instead. Throws Error unless the paths are
  /// those of leaves().
  KVCachingAttention with_leaves(const std::vector<Leaf>& leaves) const;
  /// "oklch(0.785 0.103 200.5 / 1.0)"
  std::string treescope_color() const;
};

/// v1's Gemma layer behaves as its base class; its constructor knows the names.
struct GemmaKVCachingAttention {
  static KVCachingAttention from_uncached(const Attention& original,
                                          std::int64_t cache_len,
                                          const NamedShape& cached_axes,
                                          DType cache_dtype = DType::kF32,
                                          Mode mode = Mode::kChecked);
};

/// The sublayers of one type in a layer, each of which can be replaced:
/// select<Linear>(layer).apply([](Linear linear) { ...; return linear; }).
template <typename Type, typename Layer>
struct Selection {
  Layer layer;

  std::vector<Type> get() const {
    std::vector<Type> found;
    apply([&](const Type& each) {
      found.push_back(each);
      return each;
    });
    return found;
  }

  /// A copy of the layer.
  template <typename Function>
  Layer apply(const Function& function) const {
    Layer result = layer;
    for (Sequential* part :
         {&result.input_to_query, &result.input_to_key, &result.input_to_value,
          &result.query_key_to_attn, &result.attn_value_to_output})
      for (Sublayer& sublayer : part->sublayers)
        if (const Type* found = std::get_if<Type>(&sublayer))
          sublayer = function(Type(*found));
    return result;
  }

  Layer set(const Sublayer& sublayer) const {
    return apply([&](const Type&) { return sublayer; });
  }
};

template <typename Type, typename Layer>
Selection<Type, Layer> select(const Layer& layer) {
  return {layer};
}

// Gemma, v1 ------------------------------------------------------------------

/// The linear maps of an attention layer.
struct AttentionWeights {
  NamedArray query;   // [embedding, heads, projection], v2: and query_heads
  NamedArray key;     // [embedding, heads if several, projection]
  NamedArray value;   // likewise
  NamedArray output;  // [heads, projection, embedding]
};

struct GemmaTransformerConfig {
  std::int64_t num_heads = 0;
  std::int64_t embedding_dim = 0;
  std::int64_t projection_dim = 0;
  bool single_kv_head = false;
  DType activation_dtype = DType::kF32;

  /// What GemmaKVCachingTransformer.from_uncached caches.
  NamedShape cached_axes(const NamedShape& batch_axes) const;
};

struct GemmaAttention {
  /// Throws Error where weights have other axes than the config tells.
  static Attention from_config(const GemmaTransformerConfig& config,
                               const AttentionWeights& weights);
};

/// One end index for all layers and rows.
struct GemmaKVCachingState {
  std::int64_t cache_len = 0;
  NamedShape batch_axes;
  std::vector<KVCache> kv_caches;  // by label, in the order of layers
  std::int64_t cache_end_index = 0;
};

struct GemmaKVCachingInputs {
  NamedArray tokens;
  NamedArray positions;       // int32 [seq]
  NamedArray attention_mask;  // bool [seq, kv_seq]
  GemmaKVCachingState sampling_state;

  /// Positions from the end index on, and the causal mask. Checked mode refuses
  /// tokens that the cache has no slots for: positions go on beyond its end,
  /// where every slot is visible.
  static GemmaKVCachingInputs from_basic_subsegments(
      const NamedArray& tokens, const GemmaKVCachingState& sampling_state,
      Mode mode = Mode::kChecked);

  SideInputs side_inputs() const;
  /// The state after these tokens, with the caches that the layers then have.
  GemmaKVCachingState next_state(std::vector<KVCache> kv_caches) const;
};

// Llama-like transformers, v2 ------------------------------------------------

struct LlamalikeTransformerConfig {
  std::int64_t num_kv_heads = 0;
  std::int64_t query_head_multiplier = 1;
  std::int64_t embedding_dim = 0;
  std::int64_t projection_dim = 0;
  double rope_wavelength = 10000;
  /// Sizes of sliding windows, repeated over the blocks; absent: global.
  std::vector<std::optional<std::int64_t>> attention_type{std::nullopt};
  std::optional<double> attn_logits_soft_cap;
  std::optional<double> query_scaling_factor;  // absent: projection_dim^-0.5
  DType activation_dtype = DType::kF32;
  /// Gemma 3: scales [projection] of normalized queries and keys.
  std::optional<NamedArray> query_norm_scale, key_norm_scale;
  double rms_norm_eps = 1e-6;

  /// Head axes of keys and values: "heads", none for one head, "head_groups".
  NamedShape common_head_axes() const;
  /// "query_heads" where there are several for a head of the keys.
  NamedShape query_only_head_axes() const;
};

/// Throws Error where weights have other axes than the config tells.
Attention build_llamalike_attention(const LlamalikeTransformerConfig& config,
                                    const AttentionWeights& weights,
                                    std::int64_t block_index = 0);

/// What KVCachingTransformerLM does around its body, and the attention layers
/// in it.
struct KVCachingTransformerLM {
  std::vector<KVCachingAttention> attentions;  // labels sampler/cache_<i>
  std::int64_t cache_end_index = 0;
  NamedArray previous_tokens;  // int32 [batch axes, seq]
  std::int64_t cache_len = 0;
  NamedShape batch_axes;
  std::int64_t pad_id = 0;

  static KVCachingTransformerLM from_uncached(
      const LlamalikeTransformerConfig& config,
      const std::vector<Attention>& uncached, std::int64_t cache_len,
      const NamedShape& batch_axes, std::int64_t pad_id = 0,
      const std::string& variable_name_prefix = "sampler");

  /// Takes new tokens [batch axes, seq] in, and returns what the layers need:
  /// token_positions, kv_token_positions and cache_end_index. Positions count
  /// the tokens that are not pads; those of pads are -1, which nothing sees.
  /// Checked mode refuses what penzai clamps or wraps. Throws Error for other
  /// axes than batch_axes and seq. Nothing is changed then.
  SideInputs advance(const NamedArray& tokens, Mode mode = Mode::kChecked);
};

// The model ------------------------------------------------------------------

/// The same caches as the model of kvtape/cache.h. Bytes are shared.
Cache to_cache(const KVCachingTransformerLM& model);
Cache to_cache(const GemmaKVCachingState& state);
/// What the model holds of v1's state: batch axes, caches, one end index.
/// Throws Error where rows or layers have different ones, where a layer lacks
/// keys or values or has others than linear slots, and for rows with starts.
GemmaKVCachingState state_from_cache(const Cache& cache);

}  // namespace kvtape::penzai
