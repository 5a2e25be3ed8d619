// A Tape as JSON text: the objects of a cache file, one way or another.
#include <algorithm>
#include <array>
#include <exception>

#include "io/axes_text.h"
#include "io/json_tensor_text.h"
#include "io/list_text.h"
#include "io/plan_tree.h"
#include "io/write_table.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::array<std::string_view, 4> kEncodings{"none", "summary",
                                                     "numbers", "base64"};

// EasyDeL's record has all twelve, None where a field is absent.
constexpr auto kMetadata = std::to_array<const char*>(
    {"batch_size", "sequence_length", "num_hidden_layers", "pad_token_id",
     "num_heads", "head_dim", "key_heads", "value_heads", "key_dim",
     "value_dim", "update_causal_mask", "create_attention_bias"});

bool is_metadata(std::string_view name) {
  return std::find(kMetadata.begin(), kMetadata.end(), name) != kMetadata.end();
}

[[noreturn]] void refuse(const Place& place, std::string_view member,
                         std::string text) {
  throw Error({.object = place.path.empty() ? "/" : place.path,
               .field = std::string(member),
               .text = std::move(text),
               .hint = "--format ndjson and csv write tensors alone"});
}

// What JSON would tell apart no more.
void check_member(const Place& group, std::string_view name) {
  if (name == "dtype")
    refuse(group, name,
           "a group with such a member would read back as a tensor");
  if (group.path.empty() && (name == "schema" || name == "views"))
    refuse(group, name, "the document has a meaning of its own for it");
}

void check_attribute(const Place& group, std::string_view name,
                     const AttributeValue& value) {
  check_member(group, name);
  if (group.below.contains(std::string(name)))
    refuse(group, name, "an attribute and an object of one name");
  const auto* text = std::get_if<std::string>(&value);
  if (text && (*text == "NaN" || *text == "Infinity" || *text == "-Infinity"))
    refuse(group, name, "a text that would read back as a number");
}

class DocumentWriter {
 public:
  DocumentWriter(const WritePlan& plan, const JsonOptions& options,
                 const TextSink& sink)
      : encoding_(options.encoding),
        writer_(options.form == JsonForm::kLines ? 0 : options.indent, sink),
        pass_(plan, options) {}

  void run(const Place& root) {
    writer_.open();
    writer_.member("schema", "\"kvtape.dump/1\"");
    write_group(root);
    writer_.close();
    writer_.finish();
  }

  // A line for each tensor, which says its own path.
  void run_lines(const Place& place) {
    const auto quantized = quantized_place(place);
    if (!place.is_tensor() && !quantized) {
      for (const Place* below : in_order(place)) run_lines(*below);
      return;
    }
    writer_.open();
    writer_.member("path", json_string(place.path));
    write_members(place, quantized);
    writer_.close();
    writer_.finish();
  }

 private:
  void write(const Place& place) {
    writer_.key(place.name);
    writer_.open();
    write_members(place, quantized_place(place));
    writer_.close();
  }

  void write_members(const Place& place,
                     const std::optional<QuantizedPlace>& quantized) {
    try {
      if (place.is_tensor())
        write_tensor(*place.object, encoding_, writer_, pass_);
      else if (quantized)
        write_quantized(place, *quantized);
      else
        write_group(place);
    } catch (const Error& error) {
      ErrorParts parts = error.parts();
      if (parts.object.empty()) parts.object = place.path;
      throw Error(std::move(parts));
    }
  }

  void write_group(const Place& group) {
    const bool metadata = group.path == "/metadata";
    if (metadata) {
      for (const char* name : kMetadata) {
        const AttributeValue* value = group.attribute(name);
        writer_.member(name, value == nullptr ? "null" : json_value(*value));
      }
    }
    for (const auto& [name, value] : group.object->attributes) {
      if (metadata && is_metadata(name)) continue;
      if (group.path.empty() && name == "format") continue;  // the schema
      check_attribute(group, name, value);
      writer_.member(name, json_value(value));
    }
    for (const Place* below : in_order(group)) {
      check_member(group, below->name);
      write(*below);
    }
  }

  // One tensor with parts; without values the parts go unsaid.
  void write_quantized(const Place& place, const QuantizedPlace& quantized) {
    const Tensor& tensor = quantized.tensor;
    const Quantization& q = tensor.quantization;
    std::vector<std::int64_t> sizes;
    std::vector<std::string> words;
    for (const Axis& axis : tensor.axes) {
      sizes.push_back(axis.size);
      words.push_back(axis.name);
    }
    const AttributeValue* names = place.attribute("axis_names");
    const AttributeValue* block = place.attribute("block_size");
    const bool int8 = q.scheme == Quantization::Scheme::kInt8;
    writer_.member("dtype", json_string(name(tensor.dtype)));
    writer_.member("shape", list_text(sizes), Line::kSame);
    writer_.member("axes", words_json(words), Line::kSame);
    if (names != nullptr && std::holds_alternative<std::string>(*names))
      writer_.member("axis_names",
                     words_json(split_words(std::get<std::string>(*names))),
                     Line::kSame);
    write_attributes(
        *place.object,
        {"quantization", "block_size", "shape", "dtype", "axes", "axis_names"},
        writer_);
    writer_.member(
        "quantization",
        std::string("{\"scheme\": ") + (int8 ? "\"8bit\"" : "\"nf4\"") +
            (block ? ", \"block_size\": " + json_value(*block) : "") + "}");
    if (encoding_ == Encoding::kNumbers || encoding_ == Encoding::kBase64) {
      write(*quantized.codes);
      return write(*quantized.scales);
    }
    const bool summary =
        encoding_ == Encoding::kSummary && tensor.source->has_values();
    writer_.member("encoding", summary ? "\"summary\"" : "\"none\"");
    if (summary) write_summary(pass_.summarize(tensor), tensor.dtype, writer_);
  }

  Encoding encoding_;
  JsonWriter writer_;
  TensorPass pass_;
};

}  // namespace

std::string_view name(Encoding value) {
  return kEncodings.at(static_cast<std::size_t>(value));
}

std::optional<Encoding> encoding_from_name(std::string_view name) {
  const auto found = std::find(kEncodings.begin(), kEncodings.end(), name);
  if (found == kEncodings.end()) return {};
  return static_cast<Encoding>(found - kEncodings.begin());
}

namespace {

void write(const Tape& tape, const JsonOptions& options, const TextSink& sink) {
  const WritePlan plan = plan_of(tape, Stacks::kSplit);
  if (options.form == JsonForm::kTable) return write_table(plan, options, sink);
  const Place root = tree_of(plan);
  DocumentWriter writer(plan, options, sink);
  if (options.form == JsonForm::kLines) return writer.run_lines(root);
  writer.run(root);
}

}  // namespace

void write_json(const Tape& tape, const JsonOptions& options,
                const TextSink& sink) {
  std::exception_ptr failed;  // the sink: no tensor is to blame
  try {
    write(tape, options, [&](std::string_view text) {
      try {
        sink(text);
      } catch (...) {
        failed = std::current_exception();
        throw;
      }
    });
  } catch (...) {
    if (failed) std::rethrow_exception(failed);
    throw;
  }
}

}  // namespace kvtape
