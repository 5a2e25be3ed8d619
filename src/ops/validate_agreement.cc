// Checks of what layers, or the key and value of one layer, must have in
// common. A layer that differs is compared with what most layers have.
#include <algorithm>
#include <map>
#include <set>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

/// Something that layers should agree on, as text, per layer.
using Opinions = std::map<std::int64_t, std::string>;

struct Majority {
  std::string text;
  std::int64_t layer = 0;  // the first that holds it
};

// What most layers hold; of equally many the one of the lowest layer.
Majority majority_of(const Opinions& opinions) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> counts;
  for (const auto& [number, text] : opinions) {
    auto [entry, is_new] = counts.try_emplace(text, 0, number);
    ++entry->second.first;
  }
  const auto best = std::max_element(counts.begin(), counts.end(),
                                     [](const auto& a, const auto& b) {
                                       if (a.second.first != b.second.first)
                                         return a.second.first < b.second.first;
                                       return a.second.second > b.second.second;
                                     });
  return {.text = best->first, .layer = best->second.second};
}

void report_dissent(const char* rule, const std::string& leaf,
                    const char* field, const Opinions& opinions,
                    Findings& findings) {
  if (opinions.size() < 2) return;
  const Majority most = majority_of(opinions);
  for (const auto& [number, text] : opinions)
    if (text != most.text)
      findings.add({.rule = rule,
                    .object = layer_path(number) + leaf,
                    .field = field,
                    .expected = most.text + ", as in layer " +
                                std::to_string(most.layer),
                    .found = text});
}

template <typename Text>  // optional<string> (const LayerCache&)
Opinions opinions_of(const Cache& cache, const Text& text) {
  Opinions result;
  for (const auto& [number, layer] : cache.layers)
    if (auto said = text(layer)) result.emplace(number, std::move(*said));
  return result;
}

using Said = std::optional<std::string>;

// Vectors of one number per row; others are reported elsewhere.
Said vector_text(const LayerCache& layer, const std::optional<Tensor>& tensor) {
  if (!is_usable(layer) || !tensor ||
      element_count(*tensor) != extents_of(*either(layer)).batch)
    return {};
  const auto numbers = small_integers(tensor);
  if (!numbers) return {};
  std::string result;
  for (const std::int64_t number : *numbers)
    result += (result.empty() ? "[" : ", ") + std::to_string(number);
  return result + "]";
}

std::string axes_text(const Tensor& tensor) {
  std::string result;
  for (const Axis& axis : tensor.axes)
    if (axis.kind != AxisKind::kLayer)
      result += (result.empty() ? "" : ",") + axis.name;
  return result;
}

void check_tensors(const Cache& cache, bool is_key, Findings& findings) {
  const auto tensor_of = [&](const LayerCache& layer) {
    return is_key ? layer.key : layer.value;
  };
  const std::string leaf = is_key ? "/key" : "/value";
  report_dissent("W17", leaf, "dtype",
                 opinions_of(cache,
                             [&](const LayerCache& layer) -> Said {
                               const auto tensor = tensor_of(layer);
                               if (!tensor) return {};
                               return storage_text(*tensor);
                             }),
                 findings);
  report_dissent("W18", leaf, "axes",
                 opinions_of(cache,
                             [&](const LayerCache& layer) -> Said {
                               const auto tensor = tensor_of(layer);
                               if (!tensor) return {};
                               return axes_text(*tensor);
                             }),
                 findings);
}

// Layers of different windows may be kept differently, equal ones may not.
void check_layouts(const Cache& cache, Findings& findings) {
  std::map<std::int64_t, Opinions> by_window;
  for (const auto& [number, layer] : cache.layers)
    if (either(layer))
      by_window[window_of(layer)].emplace(number, name(layout_of(layer)));
  for (const auto& [window, opinions] : by_window)
    report_dissent("W19", "", "layout", opinions, findings);
}

void check_frozen(const Cache& cache, Findings& findings) {
  report_dissent("W24", "", "frozen",
                 opinions_of(cache,
                             [](const LayerCache& layer) -> Said {
                               return layer.frozen.value_or(false) ? "true"
                                                                   : "false";
                             }),
                 findings);
}

// A frozen layer keeps nothing of a step, so it may lag behind.
void check_vectors(const Cache& cache, Findings& findings) {
  report_dissent("E33", "/index", "values",
                 opinions_of(cache,
                             [](const LayerCache& layer) -> Said {
                               if (layer.frozen.value_or(false)) return {};
                               return vector_text(layer, layer.index);
                             }),
                 findings);
  report_dissent("W16", "/starts", "values",
                 opinions_of(cache,
                             [](const LayerCache& layer) {
                               return vector_text(layer, layer.starts);
                             }),
                 findings);
}

void check_pair(std::int64_t number, const LayerCache& layer,
                Findings& findings) {
  if (!layer.key || !layer.value) return;
  const bool dtype = layer.key->dtype != layer.value->dtype;
  const bool form = layer.key->quantized() != layer.value->quantized();
  if (!dtype && !form) return;
  findings.add({.rule = form ? "W21" : "W20",
                .object = layer_path(number),
                .field = "dtype",
                .expected = storage_text(*layer.key) + ", as the key",
                .found = "value " + storage_text(*layer.value)});
}

void check_layer_indices(const Cache& cache, Findings& findings) {
  std::map<std::int64_t, std::vector<std::int64_t>> holders;
  for (const auto& [number, layer] : cache.layers)
    if (layer.layer_index) holders[*layer.layer_index].push_back(number);
  for (const auto& [index, numbers] : holders)
    if (numbers.size() > 1)
      findings.add(
          {.rule = "E34",
           .object = layer_path(numbers.back()),
           .field = "layer_index",
           .expected = "a number of its own",
           .found = std::to_string(index) + " in layers " + text_of(numbers)});
    else if (numbers[0] != index)
      findings.add({.rule = "W22",
                    .object = layer_path(numbers[0]),
                    .field = "layer_index",
                    .expected = std::to_string(numbers[0]),
                    .found = std::to_string(index)});
}

// The slots of a layer that overwrites or drops old ones before its cache is
// full; nothing for another.
std::optional<std::int64_t> slots_kept(const LayerCache& layer,
                                       const Sizes& sizes) {
  const Layout layout = layout_of(layer);
  const bool rolls = layout == Layout::kRing || layout == Layout::kShift;
  if (!rolls || !is_usable(layer)) return {};
  const std::int64_t slots = extents_of(*either(layer)).position;
  if (sizes.length && *sizes.length <= slots) return {};
  return slots;
}

// A window longer than the whole cache hides nothing, and is right.
void check_window(std::int64_t number, const LayerCache& layer,
                  const Sizes& sizes, Findings& findings) {
  const std::int64_t window = window_of(layer);
  const auto slots = slots_kept(layer, sizes);
  if (window >= 0 && (!slots || window <= *slots)) return;
  findings.add({.rule = window < 0 ? "E35" : "W23",
                .object = layer_path(number),
                .field = "window",
                .expected = window < 0 ? std::string("0 or more")
                                       : "at most " + std::to_string(*slots),
                .found = std::to_string(window)});
}

}  // namespace

void check_agreement(const Cache& cache, Findings& findings) {
  const Sizes sizes = sizes_of(cache.metadata);
  check_tensors(cache, true, findings);
  check_tensors(cache, false, findings);
  check_layouts(cache, findings);
  check_frozen(cache, findings);
  check_vectors(cache, findings);
  check_layer_indices(cache, findings);
  for (const auto& [number, layer] : cache.layers) {
    check_pair(number, layer, findings);
    check_window(number, layer, sizes, findings);
  }
}

}  // namespace kvtape
