#include "ops/diff_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/validate_findings.h"

namespace kvtape {
namespace {

constexpr std::string_view kNothing = "-";

std::string text(std::int64_t value) { return fmt::format("{}", value); }
std::string text(double value) { return fmt::format("{}", value); }
std::string text(bool value) { return value ? "true" : "false"; }
std::string text(const std::vector<double>& values) {
  return fmt::format("{} numbers", values.size());
}
template <typename Enum>
requires std::is_enum_v<Enum> std::string text(Enum value) {
  return std::string(name(value));
}

std::string text(const std::vector<std::int64_t>& values) {
  constexpr std::size_t kMost = 8;
  std::string result = "[";
  for (std::size_t i = 0; i < std::min(values.size(), kMost); ++i)
    result += fmt::format("{}{}", i == 0 ? "" : ", ", values[i]);
  return result + (values.size() > kMost ? ", ...]" : "]");
}

// The axes in memory order: "batch, position, head, dim".
std::string order_text(const Tensor& tensor) {
  constexpr std::array kNames{"batch", "position", "token",
                              "head",  "dim",      "layer"};
  std::string result;
  for (const Axis& axis : tensor.axes) {
    if (!result.empty()) result += ", ";
    result += kNames[static_cast<std::size_t>(axis.kind)];
  }
  return result;
}

std::string scheme_text(const Tensor& tensor) {
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kNone:
      return "none";
    case Quantization::Scheme::kInt8:
      return "8bit";
    case Quantization::Scheme::kNF4:
      return fmt::format("nf4, blocks of {}", tensor.quantization.block_size);
  }
  return "?";
}

class Fields {
 public:
  std::vector<DiffField> take() { return std::move(fields_); }

  template <typename T>
  void add(const std::string& object, const char* field,
           const std::optional<T>& expected, const std::optional<T>& actual) {
    if (expected == actual) return;
    push(object, field, expected ? text(*expected) : std::string(kNothing),
         actual ? text(*actual) : std::string(kNothing),
         expected.has_value() && actual.has_value());
  }

  template <typename T>
  void add(const std::string& object, const char* field, const T& expected,
           const T& actual) {
    if (expected != actual)
      push(object, field, text(expected), text(actual), true);
  }

  // What does not change the meaning.
  void note(const std::string& object, const char* field,
            const std::string& expected, const std::string& actual) {
    if (expected == actual) return;
    const auto said = [](const std::string& value) {
      return value.empty() ? std::string(kNothing) : value;
    };
    push(object, field, said(expected), said(actual), false);
  }

  // Integers per row, or per row and slot.
  void add_integers(const std::string& object, const char* field,
                    const std::optional<Tensor>& expected,
                    const std::optional<Tensor>& actual) {
    if (!expected && !actual) return;
    const auto a = readable(expected);
    const auto b = readable(actual);
    if (a && b && a->size() == b->size() && a->size() > kFew)
      return add_first(object, field, *expected, *a, *b);
    add(object, field, a, b);
  }

 private:
  static constexpr std::size_t kFew = 8;

  void push(std::string object, const char* field, std::string expected,
            std::string actual, bool counts) {
    fields_.push_back({.object = std::move(object),
                       .field = field,
                       .expected = std::move(expected),
                       .actual = std::move(actual),
                       .counts = counts});
  }

  static std::optional<std::vector<std::int64_t>> readable(
      const std::optional<Tensor>& tensor) {
    if (!tensor || is_float(tensor->dtype)) return std::nullopt;
    return integers(*tensor);
  }

  // The first entry that differs, of many.
  void add_first(const std::string& object, const char* field,
                 const Tensor& tensor, const std::vector<std::int64_t>& a,
                 const std::vector<std::int64_t>& b) {
    const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin());
    if (x == a.end()) return;
    const auto at = x - a.begin();
    const std::int64_t columns = has_axis(tensor, AxisKind::kPosition)
                                     ? extent(tensor, AxisKind::kPosition)
                                     : 1;
    const std::string where =
        has_axis(tensor, AxisKind::kPosition)
            ? fmt::format(" at row {} slot {}", at / columns, at % columns)
            : fmt::format(" at row {}", at);
    push(object, field, text(*x) + where, text(*y) + where, true);
  }

  std::vector<DiffField> fields_;
};

void add_metadata(const CacheMetadata& e, const CacheMetadata& a, Fields& out) {
  const std::string object = "/metadata";
  out.add(object, "batch_size", e.batch_size, a.batch_size);
  out.add(object, "sequence_length", e.sequence_length, a.sequence_length);
  out.add(object, "num_hidden_layers", e.num_hidden_layers,
          a.num_hidden_layers);
  out.add(object, "pad_token_id", e.pad_token_id, a.pad_token_id);
  out.add(object, "num_heads", e.num_heads, a.num_heads);
  out.add(object, "head_dim", e.head_dim, a.head_dim);
  out.add(object, "key_heads", e.key_heads, a.key_heads);
  out.add(object, "value_heads", e.value_heads, a.value_heads);
  out.add(object, "key_dim", e.key_dim, a.key_dim);
  out.add(object, "value_dim", e.value_dim, a.value_dim);
  out.add(object, "update_causal_mask", e.update_causal_mask,
          a.update_causal_mask);
  out.add(object, "create_attention_bias", e.create_attention_bias,
          a.create_attention_bias);
}

void add_attention(const std::string& object, const AttentionSpec& e,
                   const AttentionSpec& a, Fields& out) {
  out.add(object, "query_heads", e.query_heads, a.query_heads);
  out.add(object, "softmax_scale", e.softmax_scale, a.softmax_scale);
  out.add(object, "logit_softcap", e.logit_softcap, a.logit_softcap);
  out.add(object, "head_map", e.head_map, a.head_map);
  out.add(object, "visibility", e.visibility, a.visibility);
  out.add(object, "masked_rows", e.masked_rows, a.masked_rows);
}

void add_rotary(const std::string& object, const RotarySpec& e,
                const RotarySpec& a, Fields& out) {
  out.add(object, "keys_rotated", e.keys_rotated, a.keys_rotated);
  out.add(object, "queries_rotated", e.queries_rotated, a.queries_rotated);
  out.add(object, "style", e.style, a.style);
  out.add(object, "theta", e.theta, a.theta);
  out.add(object, "dims", e.dims, a.dims);
  out.add(object, "attention_factor", e.attention_factor, a.attention_factor);
  out.add(object, "inv_freq", e.inv_freq, a.inv_freq);
}

void note_storage(const std::string& object, const std::optional<Tensor>& e,
                  const std::optional<Tensor>& a, Fields& out) {
  if (!e || !a) return;
  out.note(object, "dtype", std::string(name(e->dtype)),
           std::string(name(a->dtype)));
  out.note(object, "axes", order_text(*e), order_text(*a));
  out.note(object, "quantization", scheme_text(*e), scheme_text(*a));
}

void add_layer(const std::string& object, const LayerCache& e,
               const LayerCache& a, Fields& out) {
  out.add_integers(object, "index", e.index, a.index);
  out.add_integers(object, "starts", e.starts, a.starts);
  out.add_integers(object, "slot_position", e.slot_position, a.slot_position);
  out.add(object, "layer_index", e.layer_index, a.layer_index);
  out.add(object, "frozen", e.frozen, a.frozen);
  out.add(object, "window", e.window, a.window);
  out.add(object, "layout", e.layout, a.layout);
  add_attention(object + "/attention", e.attention, a.attention, out);
  add_rotary(object + "/rotary", e.rotary, a.rotary, out);
  note_storage(object + "/key", e.key, a.key, out);
  note_storage(object + "/value", e.value, a.value, out);
}

}  // namespace

std::vector<DiffField> diff_fields(const Tape& expected, const Tape& actual) {
  const Cache& e = expected.cache;
  const Cache& a = actual.cache;
  Fields out;
  out.note("/", "source", expected.source, actual.source);
  out.note("/", "producer", expected.producer, actual.producer);
  out.note("/", "model", expected.model, actual.model);
  add_metadata(e.metadata, a.metadata, out);
  add_attention("/attention", e.attention, a.attention, out);
  add_rotary("/rotary", e.rotary, a.rotary, out);
  out.add_integers("/", "attention_mask", e.attention_mask, a.attention_mask);
  out.add_integers("/", "tokens", e.tokens, a.tokens);
  for (const auto& [number, layer] : e.layers) {
    const auto other = a.layers.find(number);
    if (other != a.layers.end())
      add_layer("/layers/" + std::to_string(number), layer, other->second, out);
  }
  return out.take();
}

}  // namespace kvtape
