// What is inside a tape, in the words of one system.
#include "report/info_as.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "report/info_facts.h"
#include "report/info_layers.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

using Facts = std::vector<std::vector<std::string>>;

std::string python(std::optional<std::int64_t> number) {
  return number ? std::to_string(*number) : "None";
}

std::string python(bool flag) { return flag ? "True" : "False"; }

std::string numbers_text(const std::optional<Tensor>& tensor) {
  const auto numbers = readable_integers(tensor);
  if (!tensor) return "None";
  if (!numbers || numbers->size() > 8)
    return fmt::format("{} {}", name(tensor->dtype), shape_text(*tensor));
  std::vector<std::string> texts;
  for (const std::int64_t number : *numbers)
    texts.push_back(std::to_string(number));
  return fmt::format("[{}]", joined(texts));
}

std::string optional_text(const std::optional<Tensor>& tensor) {
  return tensor ? tensor_text(*tensor) : "None";
}

// Layers that read the same stand in one row.
Facts folded(const Cache& cache, const std::array<const char*, 2>& around,
             std::string (*describe)(const LayerCache&)) {
  Facts rows;
  std::vector<std::int64_t> numbers;
  std::string text;
  const auto flush = [&] {
    if (!numbers.empty())
      rows.push_back({around[0] + span_text(numbers) + around[1], text});
  };
  for (const auto& [number, layer] : cache.layers) {
    std::string next = describe(layer);
    if (next != text || numbers.empty()) {
      flush();
      numbers.clear();
      text = std::move(next);
    }
    numbers.push_back(number);
  }
  flush();
  return rows;
}

void append(Facts& facts, Facts more) {
  facts.insert(facts.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
}

template <typename Predicate>
bool any_layer(const Cache& cache, const Predicate& predicate) {
  return std::any_of(cache.layers.begin(), cache.layers.end(),
                     [&](const auto& item) { return predicate(item.second); });
}

bool has_window(const LayerCache& layer) {
  return layer.window.value_or(0) > 0;
}

bool is_quantized(const LayerCache& layer) {
  return (layer.key && layer.key->quantized()) ||
         (layer.value && layer.value->quantized());
}

bool has_pads(const LayerCache& layer) {
  const auto starts = readable_integers(layer.starts);
  return starts && std::any_of(starts->begin(), starts->end(),
                               [](std::int64_t start) { return start != 0; });
}

std::int64_t length_of(const LayerCache& layer) {
  return layer.key ? extent(*layer.key, AxisKind::kPosition) : 0;
}

// Slots beyond the index, which a cache without index cannot tell apart.
bool has_room(const LayerCache& layer) {
  const auto index = readable_integers(layer.index);
  const std::int64_t length = length_of(layer);
  return index && std::any_of(index->begin(), index->end(),
                              [&](std::int64_t i) { return i != length; });
}

bool has_ragged_index(const LayerCache& layer) {
  const auto index = readable_integers(layer.index);
  return index && std::adjacent_find(index->begin(), index->end(),
                                     std::not_equal_to<>()) != index->end();
}

bool differing_dims(const LayerCache& layer) {
  return layer.key && layer.value &&
         extent(*layer.key, AxisKind::kDim) !=
             extent(*layer.value, AxisKind::kDim);
}

bool rotated_keys(const Cache& cache) {
  return any_layer(cache, [&](const LayerCache& layer) {
    const Rotary rotary = resolved(merged(layer.rotary, cache.rotary), 0);
    return rotary.style != RotaryStyle::kNone && rotary.keys_rotated;
  });
}

// What has no place there, one reason each.
void add_lost(Facts& facts,
              const std::vector<std::pair<bool, std::string>>& reasons) {
  std::string title = "no place for";
  for (const auto& [holds, reason] : reasons) {
    if (!holds) continue;
    facts.push_back({title, reason});
    title.clear();
  }
}

// ---- EasyDeL

std::string metadata_text(const CacheMetadata& m) {
  return fmt::format(
      "batch_size={}, sequence_length={}, num_hidden_layers={}, "
      "pad_token_id={}, num_heads={}, head_dim={}, key_heads={}, "
      "value_heads={}, key_dim={}, value_dim={}, update_causal_mask={}, "
      "create_attention_bias={}",
      m.batch_size, m.sequence_length, m.num_hidden_layers,
      python(m.pad_token_id), python(m.num_heads), python(m.head_dim),
      python(m.key_heads), python(m.value_heads), python(m.key_dim),
      python(m.value_dim), python(m.update_causal_mask),
      python(m.create_attention_bias));
}

std::string view_text(const LayerCache& layer) {
  return fmt::format("key {}, value {}, index {}, starts {}",
                     optional_text(layer.key), optional_text(layer.value),
                     numbers_text(layer.index), numbers_text(layer.starts));
}

std::string quantizer_text(const Cache& cache) {
  for (const auto& [number, layer] : cache.layers)
    for (const auto* tensor : {&layer.key, &layer.value}) {
      if (!*tensor || !(*tensor)->quantized()) continue;
      const Quantization& q = (*tensor)->quantization;
      if (q.scheme == Quantization::Scheme::kInt8)
        return "EasyQuantizer(A8BIT): Array8B, one scale per row";
      return fmt::format("EasyQuantizer(NF4): ArrayNF4, blocks of {}",
                         q.block_size);
    }
  return "EasyQuantizer(NONE)";
}

Facts easydel_facts(const Cache& cache) {
  Facts facts{{"class", fmt::format("TransformerCache, {}",
                                    counted(std::ssize(cache.layers), "view"))},
              {"metadata", metadata_text(cache.metadata)},
              {"quantizer", quantizer_text(cache)}};
  append(facts, folded(cache, {"views[", "]"}, view_text));
  add_lost(
      facts,
      {{cache.attention_mask.has_value(),
        "the attention mask: the caller holds it, [batch, sequence_length]"},
       {cache.tokens.has_value(), "tokens"},
       {any_layer(cache, has_window),
        "windows: sliding_window is an argument of the attention module"},
       {any_layer(cache,
                  [](const LayerCache& l) { return l.frozen.value_or(false); }),
        "frozen layers"},
       {cache.attention.query_heads.has_value(),
        "the number of query heads: num_heads is that of key heads"}});
  return facts;
}

// ---- TransformerLens

std::string entry_text(const LayerCache& layer) {
  return fmt::format("past_keys {}, past_values {}, frozen {}",
                     optional_text(layer.key), optional_text(layer.value),
                     python(layer.frozen.value_or(false)));
}

Facts transformer_lens_facts(const Cache& cache) {
  const bool thawed = any_layer(
      cache, [](const LayerCache& l) { return !l.frozen.value_or(false); });
  Facts facts{{"class", fmt::format("HookedTransformerKeyValueCache, {}",
                                    cache.layers.size() == 1
                                        ? "1 entry"
                                        : fmt::format("{} entries",
                                                      cache.layers.size()))},
              {"frozen", python(!thawed && !cache.layers.empty())},
              {"previous_attention_mask", optional_text(cache.attention_mask)}};
  append(facts, folded(cache, {"entries[", "]"}, entry_text));
  add_lost(facts,
           {{any_layer(cache, has_room),
             "slots beyond the index: the length is the position"},
            {any_layer(cache, has_ragged_index),
             "an index for each row: all rows share the length"},
            {any_layer(cache, has_pads),
             "starts: padding is in previous_attention_mask only"},
            {any_layer(cache, is_quantized), "quantized keys and values"},
            {rotated_keys(cache), "rotated keys: they are kept before rotary"},
            {cache.tokens.has_value(), "tokens"}});
  return facts;
}

// ---- penzai

std::string penzai_name(const Axis& axis) {
  constexpr auto kUsual = std::to_array<std::string_view>(
      {"batch", "position", "token", "head", "dim", "layer"});
  const bool named =
      !axis.name.empty() &&
      std::find(kUsual.begin(), kUsual.end(), axis.name) == kUsual.end();
  if (named) return printable(axis.name);
  switch (axis.kind) {
    case AxisKind::kPosition:
      return "seq";
    case AxisKind::kHead:
      return "heads";
    case AxisKind::kDim:
      return "projection";
    default:
      return axis.name.empty() ? "batch" : printable(axis.name);
  }
}

std::string named_shape(const std::optional<Tensor>& tensor) {
  if (!tensor) return "None";
  std::vector<std::string> axes;
  for (const Axis& axis : tensor->axes)
    if (axis.kind != AxisKind::kLayer)
      axes.push_back(fmt::format("{}: {}", penzai_name(axis), axis.size));
  return fmt::format("{}{{{}}}", name(tensor->dtype), joined(axes));
}

std::string pair_text(const LayerCache& layer) {
  return fmt::format("({}, {})", named_shape(layer.key),
                     named_shape(layer.value));
}

std::string end_index_text(const Cache& cache) {
  for (const auto& [number, layer] : cache.layers) {
    const auto index = readable_integers(layer.index);
    if (index && !index->empty()) return std::to_string(index->front());
  }
  return "0";
}

Facts penzai_facts(const Cache& cache) {
  std::int64_t length = 0;
  for (const auto& [number, layer] : cache.layers)
    length = std::max(length, length_of(layer));
  Facts facts{
      {"class", fmt::format("KVCachingTransformerLM, {}",
                            counted(std::ssize(cache.layers), "cache"))},
      {"cache_len", std::to_string(length)},
      {"sampler/cache_end_index", end_index_text(cache)},
      {"sampler/previous_tokens", named_shape(cache.tokens)}};
  append(facts, folded(cache, {"sampler/cache_", ""}, pair_text));
  add_lost(facts,
           {{any_layer(cache, has_ragged_index),
             "an index for each row: one end index is for all"},
            {any_layer(cache, has_pads),
             "starts: left padding is told by pad_id in the tokens"},
            {cache.attention_mask.has_value(),
             "the attention mask: it follows from the tokens"},
            {any_layer(cache, differing_dims),
             "values of another dim than keys: both have the same axes"},
            {any_layer(cache, is_quantized), "quantized keys and values"}});
  return facts;
}

struct Words {
  std::string_view name;
  Facts (*facts)(const Cache&);
};

constexpr std::array<Words, 3> kWords{{
    {"EasyDeL", easydel_facts},
    {"penzai", penzai_facts},
    {"TransformerLens", transformer_lens_facts},
}};

}  // namespace

std::string info_text_as(const NamedTape& tape, System system,
                         const TextStyle& style) {
  const Words& words = kWords[static_cast<std::size_t>(system)];
  const std::string title =
      fmt::format("{} as {}", printable(tape.file), words.name);
  return colored(style, Color::kBold, title) + '\n' +
         table_text(
             {.columns = {{}, {}}, .rows = words.facts(tape.tape.cache)});
}

}  // namespace kvtape
