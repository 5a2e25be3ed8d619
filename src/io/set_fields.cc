// Fields of records by the names that they have in a document: a record becomes
// a dict, one member changes, and the reader says whether that is a record.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "kvtape/error.h"
#include "kvtape/serialize.h"
#include "kvtape/transform.h"

namespace kvtape {
namespace {

using Path = std::vector<std::string>;

struct Assignment {
  std::string name;  // as it was given
  Path path;         // "layers", "3", "frozen"
  std::string text;  // of the value
  Dict value;
};

[[noreturn]] void refuse(const std::string& name, const std::string& expected,
                         const std::string& found) {
  throw Error({.object = "--set",
               .field = name,
               .expected = expected,
               .found = found,
               .hint = "for example --set frozen=1, --set index=[16,12], "
                       "--set layers/3/window=512,pad_token_id=null"});
}

// ---- text

// Commas between assignments, not those in lists.
std::vector<std::string> split_assignments(std::string_view text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char letter : text) {
    if (letter == '[') ++depth;
    if (letter == ']') --depth;
    if (letter == ',' && depth == 0)
      parts.emplace_back();
    else
      parts.back() += letter;
  }
  return parts;
}

Path split_path(const std::string& name) {
  Path path(1);
  for (const char letter : name.starts_with('/') ? name.substr(1) : name) {
    if (letter == '/')
      path.emplace_back();
    else
      path.back() += letter;
  }
  return path;
}

// JSON, or a word as it stands.
Dict value_of(const std::string& text) {
  Dict value = Dict::parse(text, nullptr, false);
  return value.is_discarded() ? Dict(text) : value;
}

// Where a field stands that is named without a path.
std::string_view home_of(std::string_view field) {
  constexpr auto kLayer = std::to_array<std::string_view>(
      {"index", "starts", "layer_index", "frozen", "window", "layout"});
  constexpr auto kAttention = std::to_array<std::string_view>(
      {"query_heads", "softmax_scale", "logit_softcap", "head_map",
       "visibility", "masked_rows"});
  constexpr auto kRotary = std::to_array<std::string_view>(
      {"keys_rotated", "queries_rotated", "style", "theta", "dims",
       "attention_factor"});
  const auto among = [field](const auto& names) {
    return std::find(names.begin(), names.end(), field) != names.end();
  };
  if (among(kLayer)) return "layers";
  if (among(kAttention)) return "attention";
  if (among(kRotary)) return "rotary";
  if (to_dict(CacheMetadata{}).contains(field)) return "metadata";
  return "";
}

Assignment parsed(const std::string& part) {
  const std::size_t equals = part.find('=');
  if (equals == 0 || equals == part.npos)
    refuse("", "NAME=VALUE", "'" + part + "'");
  Assignment result{.name = part.substr(0, equals),
                    .path = split_path(part.substr(0, equals)),
                    .text = part.substr(equals + 1)};
  result.value = value_of(result.text);
  if (result.path.size() == 1)
    if (const std::string_view home = home_of(result.path[0]); !home.empty())
      result.path.emplace(result.path.begin(), home);
  return result;
}

// ---- records

// The record with one other member; those of EasyDeL's metadata are never
// absent, but None.
template <typename Record>
Record changed(const Record& record, const Assignment& assignment) {
  Dict dict = to_dict(record);
  const std::string& field = assignment.path.back();
  dict[field] = assignment.value;
  if (assignment.value.is_null() && !std::is_same_v<Record, CacheMetadata>)
    dict.erase(field);
  try {
    return from_dict<Record>(dict);
  } catch (const Error& error) {
    ErrorParts parts = error.parts();
    parts.object = "--set";
    parts.field = assignment.name;
    parts.hint.clear();
    throw Error(std::move(parts));
  }
}

// The numbers of index or starts: one for all rows, or one each.
std::vector<std::int32_t> rows_of(const Assignment& assignment,
                                  std::int64_t rows) {
  const Dict& value = assignment.value;
  const auto list =
      value.is_array()
          ? value.get<std::vector<Dict>>()
          : std::vector<Dict>(static_cast<std::size_t>(rows), value);
  if (std::ssize(list) != rows)
    refuse(assignment.name, fmt::format("one number, or {}", rows),
           std::to_string(list.size()));
  std::vector<std::int32_t> numbers;
  for (const Dict& item : list) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (!item.is_number_integer() || item < -kMost || item > kMost)
      refuse(assignment.name, "an i32", item.dump());
    numbers.push_back(item.get<std::int32_t>());
  }
  return numbers;
}

void set_rows(LayerCache& layer, std::optional<Tensor>& tensor,
              const Assignment& assignment) {
  if (assignment.value.is_null()) return tensor.reset();
  const Tensor* like = tensor        ? &*tensor
                       : layer.key   ? &*layer.key
                       : layer.value ? &*layer.value
                                     : nullptr;
  if (like == nullptr)
    refuse(assignment.name, "a layer with a key or value", "none");
  std::vector<Axis> axes;
  for (const Axis& axis : like->axes)
    if (axis.kind == AxisKind::kBatch) axes.push_back(axis);
  const auto numbers = rows_of(assignment, extent(*like, AxisKind::kBatch));
  std::vector<std::byte> bytes(numbers.size() * sizeof(std::int32_t));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  tensor = make_tensor(DType::kI32, std::move(axes), std::move(bytes));
}

void set_layer(LayerCache& layer, const Assignment& assignment) {
  const std::string& field = assignment.path.back();
  if (field == "index") return set_rows(layer, layer.index, assignment);
  if (field == "starts") return set_rows(layer, layer.starts, assignment);
  for (const char* tensor : {"key", "value", "slot_position"})
    if (field == tensor)
      refuse(assignment.name, "a field of a record", "a tensor");
  LayerCache plain = layer;  // tensors are no part of the record
  for (auto* tensor : {&plain.key, &plain.value, &plain.index, &plain.starts,
                       &plain.slot_position})
    tensor->reset();
  plain = changed(plain, assignment);
  layer.layer_index = plain.layer_index;
  layer.frozen = plain.frozen;
  layer.window = plain.window;
  layer.layout = plain.layout;
  layer.attention = plain.attention;
  layer.rotary = plain.rotary;
}

// "layers", "3", "frozen", or all of them: "layers", "frozen".
void set_layers(Cache& cache, const Assignment& assignment) {
  const std::string& second = assignment.path[1];
  std::int64_t number = 0;
  const char* end = second.data() + second.size();
  const auto read = std::from_chars(second.data(), end, number);
  if (assignment.path.size() == 2) {
    for (auto& [layer_number, layer] : cache.layers)
      set_layer(layer, assignment);
    return;
  }
  const auto found = cache.layers.find(number);
  if (read.ec != std::errc() || read.ptr != end || found == cache.layers.end())
    refuse(assignment.name, "a layer that is there", second);
  set_layer(found->second, assignment);
}

void set_text(std::string& text, const Assignment& assignment) {
  text = assignment.value.is_string() ? assignment.value.get<std::string>()
         : assignment.value.is_null() ? ""
                                      : assignment.text;
}

void set_field(Tape& tape, const Assignment& assignment) {
  const std::string& first = assignment.path[0];
  if (assignment.path.size() == 1) {
    if (first == "source") return set_text(tape.source, assignment);
    if (first == "producer") return set_text(tape.producer, assignment);
    if (first == "model") return set_text(tape.model, assignment);
    refuse(assignment.name, "a field of the cache", "none of this name");
  }
  Cache& cache = tape.cache;
  const bool deep = assignment.path.size() > 2;
  if (first == "layers" && assignment.path.size() <= 3)
    set_layers(cache, assignment);
  else if (deep)
    refuse(assignment.name, "a field of the cache", "none of this name");
  else if (first == "metadata")
    cache.metadata = changed(cache.metadata, assignment);
  else if (first == "attention")
    cache.attention = changed(cache.attention, assignment);
  else if (first == "rotary")
    cache.rotary = changed(cache.rotary, assignment);
  else
    refuse(assignment.name, "a field of the cache", "none of this name");
}

}  // namespace

Tape with_fields(const Tape& tape, std::string_view assignments) {
  Tape result = tape;
  for (const std::string& part : split_assignments(assignments))
    set_field(result, parsed(part));
  return result;
}

}  // namespace kvtape
