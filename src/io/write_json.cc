// A Tape as JSON text: the objects of a cache file, one way or another.
#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

#include "core/natural.h"
#include "io/json_tensor_text.h"
#include "io/list_text.h"
#include "io/tensor_summary.h"
#include "io/tensors.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::array<std::string_view, 4> kEncodings{"none", "summary",
                                                     "numbers", "base64"};

// An object of the plan and those below it.
struct Place {
  std::string name;  // the last part of the path
  const PlannedObject* object = nullptr;
  std::map<std::string, Place> below;

  bool is_tensor() const { return object->dataset.has_value(); }
  // A group that is spelled as one tensor with parts.
  bool is_quantized() const {
    return below.contains("data") && below.at("data").is_tensor() &&
           text("quantization") != nullptr && text("dtype") != nullptr &&
           sizes() != nullptr;
  }

  const AttributeValue* attribute(std::string_view wanted) const {
    for (const auto& [key, value] : object->attributes)
      if (key == wanted) return &value;
    return nullptr;
  }
  const std::string* text(std::string_view wanted) const {
    const AttributeValue* value = attribute(wanted);
    return value == nullptr ? nullptr : std::get_if<std::string>(value);
  }
  const std::vector<std::int64_t>* sizes() const {
    const AttributeValue* value = attribute("shape");
    return value == nullptr ? nullptr
                            : std::get_if<std::vector<std::int64_t>>(value);
  }
};

Place tree_of(const WritePlan& plan) {
  Place root;
  for (const auto& [path, object] : plan) {
    Place* place = &root;
    for (std::size_t at = 1; at < path.size();) {
      const std::size_t slash = std::min(path.find('/', at), path.size());
      const std::string part = path.substr(at, slash - at);
      place = &place->below[part];
      place->name = part;
      at = slash + 1;
    }
    place->object = &object;
  }
  return root;
}

// A tensor's bytes; groups come behind all tensors, in the order in which a
// decode meets them.
std::int64_t weight(const Place& place) {
  if (place.is_tensor()) return bytes_of(*place.object->dataset);
  constexpr std::int64_t kGroups = std::numeric_limits<std::int64_t>::max() - 9;
  constexpr auto kOrder =
      std::to_array<std::string_view>({"layers", "stack", "trace", "final"});
  const auto found = std::find(kOrder.begin(), kOrder.end(), place.name);
  return kGroups + (found - kOrder.begin());
}

// Small tensors first; names as people count.
std::vector<const Place*> in_order(const Place& place) {
  std::vector<const Place*> result;
  for (const auto& [name, below] : place.below) result.push_back(&below);
  std::sort(result.begin(), result.end(), [](const Place* a, const Place* b) {
    if (weight(*a) != weight(*b)) return weight(*a) < weight(*b);
    return natural_less(a->name, b->name);
  });
  return result;
}

// EasyDeL's record has all twelve, None where a field is absent.
constexpr auto kMetadata = std::to_array<const char*>(
    {"batch_size", "sequence_length", "num_hidden_layers", "pad_token_id",
     "num_heads", "head_dim", "key_heads", "value_heads", "key_dim",
     "value_dim", "update_causal_mask", "create_attention_bias"});

// What the cache is stands before the tensors of the root.
constexpr std::array<const char*, 3> kDescription{"metadata", "attention",
                                                  "rotary"};

class DocumentWriter {
 public:
  DocumentWriter(const JsonOptions& options, const TextSink& sink)
      : encoding_(options.encoding),
        writer_(options.form == JsonForm::kLines ? 0 : options.indent, sink),
        pool_(options.threads) {}

  void run(const Place& root) {
    writer_.open();
    writer_.member("schema", "\"kvtape.dump/1\"");
    for (const auto& [name, value] : root.object->attributes)
      if (name != "format") writer_.member(name, json_value(value));
    for (const char* first : kDescription)
      if (const auto found = root.below.find(first); found != root.below.end())
        write(found->second, std::string("/") + first);
    for (const Place* place : in_order(root))
      if (std::find(kDescription.begin(), kDescription.end(), place->name) ==
          kDescription.end())
        write(*place, "/" + place->name);
    writer_.close();
    writer_.finish();
  }

  // A line for each tensor, which says its own path.
  void run_lines(const Place& place, const std::string& path) {
    if (!place.is_tensor() && !place.is_quantized()) {
      for (const Place* below : in_order(place))
        run_lines(*below, path + "/" + below->name);
      return;
    }
    writer_.open();
    writer_.member("path", json_string(path));
    write_members(place, path);
    writer_.close();
    writer_.finish();
  }

 private:
  void write(const Place& place, const std::string& path) {
    writer_.key(place.name);
    try {
      write_object(place, path);
    } catch (const Error& error) {
      ErrorParts parts = error.parts();
      if (parts.object.empty()) parts.object = path;
      throw Error(std::move(parts));
    }
  }

  void write_object(const Place& place, const std::string& path) {
    writer_.open();
    write_members(place, path);
    writer_.close();
  }

  void write_members(const Place& place, const std::string& path) {
    if (place.is_tensor()) {
      write_tensor(*place.object, encoding_, writer_, pool_);
    } else if (place.is_quantized()) {
      write_quantized(place, path);
    } else {
      write_attributes(place, path);
      for (const Place* below : in_order(place))
        write(*below, path + "/" + below->name);
    }
  }

  void write_attributes(const Place& place, const std::string& path) {
    if (path == "/metadata") {
      for (const char* name : kMetadata) {
        const AttributeValue* value = place.attribute(name);
        writer_.member(name, value == nullptr ? "null" : json_value(*value));
      }
    }
    for (const auto& [name, value] : place.object->attributes)
      if (path != "/metadata" || std::find(kMetadata.begin(), kMetadata.end(),
                                           name) == kMetadata.end())
        writer_.member(name, json_value(value));
  }

  // One tensor with parts; without values the parts go unsaid.
  void write_quantized(const Place& place, const std::string& path) {
    const std::string& scheme = *place.text("quantization");
    const char* scales = scheme == "nf4" ? "absmax" : "scale";
    const auto dtype = float_from_word(*place.text("dtype"));
    writer_.member("dtype",
                   json_string(dtype ? name(*dtype) : *place.text("dtype")));
    writer_.member("shape", list_text(*place.sizes()));
    writer_.member("axes", R"(["batch", "position", "head", "dim"])");
    if (const std::string* words = place.text("axis_names"))
      writer_.member("axis_names", words_json(*words));
    write_other_attributes(place);
    write_scheme(place, scheme);
    if (encoding_ == Encoding::kNumbers || encoding_ == Encoding::kBase64) {
      for (const char* part : {"data", scales})
        if (const auto found = place.below.find(part);
            found != place.below.end())
          write(found->second, path + "/" + part);
      return;
    }
    writer_.member("encoding", json_string(name(encoding_)));
    if (encoding_ == Encoding::kSummary && place.below.contains(scales) &&
        dtype)
      write_summary(
          summary_of({.codes = *place.below.at("data").object->dataset,
                      .scales = *place.below.at(scales).object->dataset,
                      .dtype = *dtype,
                      .nf4 = scheme == "nf4"}),
          writer_);
  }

  void write_scheme(const Place& place, const std::string& scheme) {
    writer_.key("quantization");
    writer_.open();
    writer_.member("scheme", json_string(scheme));
    if (const AttributeValue* block = place.attribute("block_size"))
      writer_.member("block_size", json_value(*block));
    writer_.close();
  }

  // Those of a quantized tensor that have no member of their own.
  void write_other_attributes(const Place& place) {
    static const std::set<std::string_view> kKnown{
        "quantization", "block_size", "shape", "dtype", "axes", "axis_names"};
    std::string text;
    for (const auto& [name, value] : place.object->attributes)
      if (!kKnown.contains(name))
        text += (text.empty() ? "" : ", ") + json_string(name) + ": " +
                json_value(value);
    if (!text.empty()) writer_.member("attributes", "{" + text + "}");
  }

  Encoding encoding_;
  JsonWriter writer_;
  ThreadPool pool_;
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

void write_json(const Tape& tape, const JsonOptions& options,
                const TextSink& sink) {
  const WritePlan plan = plan_of(tape);
  DocumentWriter writer(options, sink);
  if (options.form == JsonForm::kLines)
    writer.run_lines(tree_of(plan), "");
  else
    writer.run(tree_of(plan));
}

}  // namespace kvtape
