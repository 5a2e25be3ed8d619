#include "io/plan_tree.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/natural.h"
#include "io/regions.h"
#include "io/tensors.h"

namespace kvtape {
namespace {

// Groups that come first at the root, and groups that come last.
constexpr auto kFirst =
    std::to_array<std::string_view>({"metadata", "attention", "rotary"});
constexpr auto kLast =
    std::to_array<std::string_view>({"layers", "trace", "final"});

// Tensors weigh their bytes.
std::int64_t weight(const Place& place) {
  constexpr std::int64_t kGroup = std::numeric_limits<std::int64_t>::max() - 9;
  const std::string_view path = place.path;
  const auto first = std::find(kFirst.begin(), kFirst.end(), place.name);
  if (first != kFirst.end() && path.rfind('/') == 0)
    return first - kFirst.end();
  if (place.is_tensor()) return bytes_of(*place.object->dataset);
  const auto last = std::find(kLast.begin(), kLast.end(), place.name);
  return kGroup +
         (last == kLast.end() ? std::ssize(kLast) : last - kLast.begin());
}

template <typename T>
const T* held(const Place& place, std::string_view name) {
  const AttributeValue* value = place.attribute(name);
  return value == nullptr ? nullptr : std::get_if<T>(value);
}

const Place* tensor_below(const Place& place, const char* name) {
  const auto found = place.below.find(name);
  if (found == place.below.end() || !found->second.is_tensor()) return nullptr;
  return &found->second;
}

// Codes or scales along one axis, whatever their shape.
class FlatSource final : public SlabSource {
 public:
  explicit FlatSource(const PlannedDataset& dataset) : dataset_(dataset) {}

  std::span<const std::byte> bytes() const override {
    return dataset_.source->bytes();
  }
  bool has_values() const override { return dataset_.source->has_values(); }
  Storage storage() const override { return dataset_.source->storage(); }

  void read(const Box& box, std::span<std::byte> out) const override {
    const int size = bytes_per_element(dataset_.dtype);
    for_each_run(dataset_.sizes, box.first.at(0), box.count.at(0),
                 [&](const Box& run) {
                   std::size_t bytes = static_cast<std::size_t>(size);
                   for (const std::int64_t count : run.count)
                     bytes *= static_cast<std::size_t>(count);
                   read_planned(dataset_, run, out.first(bytes));
                   out = out.subspan(bytes);
                 });
  }

 private:
  PlannedDataset dataset_;
};

std::shared_ptr<const SlabSource> flat_source(const PlannedDataset& dataset) {
  if (dataset.source_sizes.size() == 1) return dataset.source;
  return std::make_shared<FlatSource>(dataset);
}

}  // namespace

const AttributeValue* Place::attribute(std::string_view wanted) const {
  for (const auto& [key, value] : object->attributes)
    if (key == wanted) return &value;
  return nullptr;
}

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
    if (place != &root) place->path = path;
  }
  return root;
}

std::vector<const Place*> in_order(const Place& place) {
  std::vector<const Place*> result;
  for (const auto& [name, below] : place.below) result.push_back(&below);
  std::sort(result.begin(), result.end(), [](const Place* a, const Place* b) {
    const std::int64_t x = weight(*a);
    const std::int64_t y = weight(*b);
    return x != y ? x < y : natural_less(a->name, b->name);
  });
  return result;
}

std::optional<QuantizedPlace> quantized_place(const Place& place) {
  const auto* scheme = held<std::string>(place, "quantization");
  const auto* word = held<std::string>(place, "dtype");
  const auto* shape = held<std::vector<std::int64_t>>(place, "shape");
  const auto* block = held<std::int64_t>(place, "block_size");
  if (place.is_tensor() || !scheme || !word || !shape) return {};
  const bool int8 = *scheme == "8bit";
  const auto dtype = float_from_word(*word);
  const auto words = split_words(kKeyRole.axes);
  QuantizedPlace result{
      .codes = tensor_below(place, "data"),
      .scales = tensor_below(place, int8 ? "scale" : "absmax")};
  if ((!int8 && (*scheme != "nf4" || !block)) || !dtype ||
      shape->size() != words.size() || !result.codes || !result.scales ||
      place.below.size() != 2)
    return {};
  const PlannedDataset& codes = *result.codes->object->dataset;
  const PlannedDataset& scales = *result.scales->object->dataset;
  result.tensor = {.dtype = *dtype,
                   .axes = *axes_from_words(words, *shape),
                   .source = flat_source(codes)};
  result.tensor.quantization = {
      .scheme = int8 ? Quantization::Scheme::kInt8 : Quantization::Scheme::kNF4,
      .block_size = block ? *block : 0,
      .scales = flat_source(scales),
      .scale_count = bytes_of(scales) / bytes_per_element(scales.dtype),
      .scale_dtype = scales.dtype,
      .payload_dtype = codes.dtype,
      .payload_count = bytes_of(codes) / bytes_per_element(codes.dtype)};
  return result;
}

}  // namespace kvtape
