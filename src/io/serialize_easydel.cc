// EasyDeL's own classes as dicts: its keys in its order, tensors in full.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kvtape/error.h"
#include "kvtape/serialize.h"

namespace kvtape {
namespace {

using easydel::TransformerCache;
using easydel::TransformerCacheView;
using easydel::TransformerMetadata;

// The tensors of a view, null where it has none.
constexpr std::array kTensors{"key", "value", "index", "starts"};

[[noreturn]] void refuse(const std::string& field, const char* expected,
                         const Dict& found) {
  throw Error(
      {.field = field, .expected = expected, .found = found.type_name()});
}

// The keys of `dict` are among `known`, unless EasyDeL's rule holds.
void check_keys(const Dict& dict, std::span<const char* const> known,
                Keys keys) {
  if (!dict.is_object()) refuse("", "a dict", dict);
  for (const auto& [key, value] : dict.items())
    if (keys == Keys::kStrict && std::ranges::find(known, key) == known.end())
      throw Error({.field = key,
                   .text = "is unknown",
                   .hint = "Keys::kEasyDel ignores such keys"});
}

const Dict& member(const Dict& dict, const char* key) {
  if (!dict.contains(key)) throw Error({.field = key, .text = "is missing"});
  return dict.at(key);
}

std::optional<std::int64_t> optional_integer(const Dict& dict,
                                             const char* key) {
  const Dict& value = member(dict, key);
  if (value.is_null()) return {};
  if (!value.is_number_integer()) refuse(key, "an integer or null", value);
  return value.get<std::int64_t>();
}

LayerCache layer_of(const TransformerCacheView& view) {
  LayerCache layer;
  layer.key = view.key;
  layer.value = view.value;
  if (view.index.source) layer.index = view.index;
  if (view.starts.source) layer.starts = view.starts;
  return layer;
}

Error of_view(const Error& error, std::size_t number) {
  ErrorParts parts = error.parts();
  parts.object = fmt::format("views[{}]{}", number,
                             parts.object.empty() ? "" : ": " + parts.object);
  return Error(parts);
}

}  // namespace

Dict to_dict(const TransformerMetadata& metadata) {
  Dict dict{{"postpadded", metadata.postpadded}, {"index", nullptr}};
  if (metadata.index) dict["index"] = *metadata.index;
  return dict;
}

Dict to_dict(const TransformerCacheView& view, Encoding encoding) {
  const Dict layer = to_dict(layer_of(view), encoding);
  Dict dict = Dict::object();
  for (const char* key : kTensors)
    dict[key] = layer.contains(key) ? layer.at(key) : Dict(nullptr);
  dict["metadata"] = to_dict(view.metadata);
  dict["layer_index"] = nullptr;
  if (view.layer_index) dict["layer_index"] = *view.layer_index;
  return dict;
}

Dict to_dict(const TransformerCache& cache, Encoding encoding) {
  Dict views = Dict::array();
  for (const auto& view : cache.views)
    views.push_back(view ? to_dict(*view, encoding) : Dict(nullptr));
  return {{"views", std::move(views)}};
}

template <>
TransformerMetadata from_dict(const Dict& dict, Keys keys) {
  check_keys(dict, std::array{"postpadded", "index"}, keys);
  const Dict& postpadded = member(dict, "postpadded");
  if (!postpadded.is_boolean())
    refuse("postpadded", "true or false", postpadded);
  return {.postpadded = postpadded.get<bool>(),
          .index = optional_integer(dict, "index")};
}

template <>
TransformerCacheView from_dict(const Dict& dict, Keys keys) {
  check_keys(
      dict,
      std::array{"key", "value", "index", "starts", "metadata", "layer_index"},
      keys);
  Dict tensors = Dict::object();
  for (const char* key : kTensors)
    if (!member(dict, key).is_null()) tensors[key] = dict.at(key);
  LayerCache layer = from_dict<LayerCache>(tensors, keys);
  return {.key = std::move(layer.key),
          .value = std::move(layer.value),
          .index = std::move(layer.index).value_or(Tensor{}),
          .starts = std::move(layer.starts).value_or(Tensor{}),
          .metadata = from_dict<CacheMetadata>(member(dict, "metadata"), keys),
          .layer_index = optional_integer(dict, "layer_index")};
}

template <>
TransformerCache from_dict(const Dict& dict, Keys keys) {
  check_keys(dict, std::array{"views"}, keys);
  const Dict& views = member(dict, "views");
  if (!views.is_array()) refuse("views", "a list", views);
  TransformerCache cache;
  for (const Dict& view : views) try {
      cache.views.emplace_back();
      if (!view.is_null())
        cache.views.back() = from_dict<TransformerCacheView>(view, keys);
    } catch (const Error& error) {
      throw of_view(error, cache.views.size() - 1);
    }
  return cache;
}

}  // namespace kvtape
