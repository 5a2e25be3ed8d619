// Cutting a small tape out of a large one.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>

#include "kvtape/transform.h"
#include "ops/select_parts.h"
#include "ops/tape_tensors.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

using Numbers = std::vector<std::int64_t>;

Layout layout_of(const LayerCache& layer) {
  return layer.layout.value_or(Layout::kLinear);
}

// The number of a layer whose objects a path is of: "/final/layers/7/key".
struct LayerPath {
  std::string before;  // "/final/layers/"
  std::int64_t number = 0;
  std::string after;  // "/key"
};
std::optional<LayerPath> layer_path_of(const std::string& path) {
  for (const char* root : {"/layers/", "/trace/layers/", "/final/layers/"}) {
    if (!path.starts_with(root)) continue;
    LayerPath result{.before = root, .number = 0, .after = ""};
    const char* first = path.data() + result.before.size();
    const char* end = path.data() + path.size();
    const auto read = std::from_chars(first, end, result.number);
    if (read.ec != std::errc() || (read.ptr != end && *read.ptr != '/'))
      return {};
    result.after = std::string(read.ptr, end);
    return result;
  }
  return {};
}

// ---- layers

template <typename Layer>
std::map<std::int64_t, Layer> kept_layers(
    const std::map<std::int64_t, Layer>& layers, const Interval& kept) {
  std::map<std::int64_t, Layer> result;
  for (const auto& [number, layer] : layers)
    if (number >= kept.first && number < kept.last)
      result.emplace(number - kept.first, layer);
  return result;
}

void renumber(std::map<std::int64_t, LayerCache>& layers,
              std::int64_t removed) {
  for (auto& [number, layer] : layers)
    if (layer.layer_index == number + removed) layer.layer_index = number;
}

// ---- the selection against a tape

class Selector {
 public:
  Selector(const Tape& tape, const Selection& selection)
      : tape_(tape), selection_(selection) {}

  Cut run() {
    take_layers();
    take_kind();
    find_parts();
    if (parts_.positions) check_positions();
    cut_tensors();
    cut_metadata();
    take_operations();
    take_extras();
    cut_.tape = std::move(tape_);
    return std::move(cut_);
  }

 private:
  void take_layers() {
    std::int64_t count = tape_.cache.metadata.num_hidden_layers;
    if (!tape_.cache.layers.empty())
      count = std::max(count, tape_.cache.layers.rbegin()->first + 1);
    layers_ = resolved(selection_.layer, count, "layer");
    if (layers_.size() == count) return;
    all_layers_ = false;
    tape_.cache.layers = kept_layers(tape_.cache.layers, layers_);
    renumber(tape_.cache.layers, layers_.first);
    tape_.cache.metadata.num_hidden_layers = layers_.size();
    if (tape_.trace)
      tape_.trace->layers = kept_layers(tape_.trace->layers, layers_);
    if (!tape_.final_state) return;
    tape_.final_state->layers = kept_layers(tape_.final_state->layers, layers_);
    renumber(tape_.final_state->layers, layers_.first);
  }

  // A trace needs both.
  void take_kind() {
    if (!selection_.kind) return;
    if (tape_.trace) cut_.left_out.emplace_back("/trace");
    if (tape_.final_state) cut_.left_out.emplace_back("/final");
    tape_ = without_trace(tape_);
    for (auto& [number, layer] : tape_.cache.layers)
      (selection_.kind == TensorKind::kKey ? layer.value : layer.key).reset();
  }

  // ---- what there is

  // The first tensor that says how large things are.
  const Tensor* first_tensor() const {
    for (const auto& [number, layer] : tape_.cache.layers)
      for (const auto* tensor : {&layer.key, &layer.value})
        if (*tensor) return &**tensor;
    return nullptr;
  }

  std::optional<Interval> part(const std::optional<IndexRange>& range,
                               std::int64_t count, std::string_view field) {
    const Interval kept = resolved(range, count, field);
    return kept.size() == count ? std::optional<Interval>() : kept;
  }

  void find_parts() {
    const Tensor* first = first_tensor();
    const auto size = [&](AxisKind kind) {
      return first == nullptr ? 0 : extent(*first, kind);
    };
    parts_.row_count = size(AxisKind::kBatch);
    parts_.head_count = size(AxisKind::kHead);
    parts_.rows = part(selection_.row, parts_.row_count, "row");
    parts_.heads = part(selection_.head, parts_.head_count, "head");
    std::int64_t positions = 0;
    for (const auto& [number, layer] : tape_.cache.layers)
      for (const auto* tensor : {&layer.key, &layer.value})
        if (*tensor)
          positions =
              std::max(positions, extent(**tensor, AxisKind::kPosition));
    parts_.positions = part(selection_.position, positions, "position");
  }

  // ---- positions: which parts still mean what they meant

  void check_positions() {
    for (const auto& [number, layer] : tape_.cache.layers)
      if (layout_of(layer) == Layout::kRing ||
          layout_of(layer) == Layout::kShift)
        contradiction(fmt::format("/layers/{}", number), "layout",
                      "linear or growing, where positions are selected",
                      std::string(name(layout_of(layer))),
                      "its slots are not in the order of their positions: "
                      "select layers, rows or heads");
    if (tape_.trace) check_trace();
  }

  [[noreturn]] void refuse_trace(const std::string& expected) {
    contradiction(
        "/trace", "position", expected,
        fmt::format("{}:{}", parts_.positions->first, parts_.positions->last),
        "add --no-trace to cut the cache alone");
  }

  void check_trace() {
    std::int64_t tokens = 0;
    const Trace& trace = *tape_.trace;
    const bool kept = trace.keys_in == Trace::KeysIn::kCache;
    if (trace.step_lengths && !kept)
      for (std::int64_t length : integers(*trace.step_lengths))
        tokens += std::max<std::int64_t>(0, length);
    std::int64_t used = tokens;
    for (const auto& [number, layer] : tape_.cache.layers) {
      if (layout_of(layer) != Layout::kLinear)
        refuse_trace("all positions: the trace makes layers longer");
      if (layer.index)
        for (std::int64_t index : integers(*layer.index))
          used = std::max(used, index + tokens);
    }
    if (parts_.positions->first != 0 || parts_.positions->last < used)
      refuse_trace(fmt::format("0:{} at least: the trace uses them", used));
    for (const auto& [number, layer] : tape_.cache.layers)
      if (may_see_nothing(layer))
        refuse_trace(
            "all positions: rows that see nothing give the mean over them");
  }

  // Whether a row may see no slot, and the result then depends on all slots.
  bool may_see_nothing(const LayerCache& layer) const {
    const AttentionSpec spec = merged(layer.attention, tape_.cache.attention);
    if (spec.masked_rows.value_or(MaskedRows::kUniform) != MaskedRows::kUniform)
      return false;
    const Trace& trace = *tape_.trace;
    if (spec.visibility.value_or(Visibility::kCausal) == Visibility::kMask ||
        tape_.cache.attention_mask || trace.token_mask || trace.attention_mask)
      return true;
    if (!layer.starts) return false;
    const Numbers starts = integers(*layer.starts);
    const auto& from = trace.keys_in == Trace::KeysIn::kCache
                           ? trace.start_index
                           : layer.index;
    const Numbers first = from ? integers(*from) : Numbers(starts.size(), 0);
    if (first.size() != starts.size()) return true;
    for (std::size_t row = 0; row < starts.size(); ++row)
      if (starts[row] > first[row]) return true;
    return false;
  }

  // ---- cutting

  void cut_tensors() {
    if (!parts_.rows && !parts_.heads && !parts_.positions) return;
    CutTensors cut(parts_);
    for (const TapeTensor& named : tensors_of(tape_)) {
      const LayerCache* layer = layer_of(named);
      if (parts_.heads && layer != nullptr)
        cut.set_query_heads(query_heads(*layer, named));
      cut.run(named);
      if (parts_.positions && named.role == TensorRole::kRows &&
          layer != nullptr && !layer->slot_position)
        shift_rows(**named.tensor);
    }
  }

  const LayerCache* layer_of(const TapeTensor& named) const {
    if (!named.layer) return nullptr;
    const auto found = tape_.cache.layers.find(*named.layer);
    return found == tape_.cache.layers.end() ? nullptr : &found->second;
  }

  QueryHeads query_heads(const LayerCache& layer, const TapeTensor& named) {
    const Attention attention = resolved(
        merged(layer.attention, tape_.cache.attention), parts_.head_count, 1);
    if (attention.query_heads % parts_.head_count != 0)
      contradiction(named.path, "query_heads",
                    fmt::format("a multiple of {}", parts_.head_count),
                    std::to_string(attention.query_heads));
    return {.group = attention.query_heads / parts_.head_count,
            .tile = attention.head_map == HeadMap::kTile};
  }

  // index and starts, counted from the first position that is kept.
  void shift_rows(Tensor& tensor) const {
    Numbers numbers = integers(tensor);
    for (std::int64_t& number : numbers)
      number = std::clamp<std::int64_t>(number - parts_.positions->first, 0,
                                        parts_.positions->size());
    std::vector<std::int32_t> narrow(numbers.begin(), numbers.end());
    std::vector<std::byte> bytes(narrow.size() * sizeof(std::int32_t));
    if (!bytes.empty()) std::memcpy(bytes.data(), narrow.data(), bytes.size());
    std::vector<Axis> axes = tensor.axes;
    std::erase_if(
        axes, [](const Axis& axis) { return axis.kind == AxisKind::kLayer; });
    tensor = make_tensor(DType::kI32, std::move(axes), std::move(bytes));
  }

  // ---- what is said of it

  void cut_metadata() {
    CacheMetadata& metadata = tape_.cache.metadata;
    if (parts_.rows) metadata.batch_size = parts_.rows->size();
    if (parts_.positions) cut_length();
    if (!parts_.heads) return;
    const std::int64_t whole = parts_.head_count;
    const std::int64_t kept = parts_.heads->size();
    const auto scale = [&](std::optional<std::int64_t>& heads) {
      if (heads && *heads % whole == 0) *heads = *heads / whole * kept;
    };
    for (auto* heads :
         {&metadata.num_heads, &metadata.key_heads, &metadata.value_heads,
          &tape_.cache.attention.query_heads})
      scale(*heads);
    for (auto& [number, layer] : tape_.cache.layers)
      scale(layer.attention.query_heads);
    if (tape_.final_state)
      for (auto& [number, layer] : tape_.final_state->layers)
        scale(layer.attention.query_heads);
  }

  void cut_length() {
    for (const auto& [number, layer] : tape_.cache.layers)
      if (layout_of(layer) == Layout::kLinear)
        tape_.cache.metadata.sequence_length = parts_.positions->size();
  }

  // Operations are on whole caches.
  void take_operations() {
    const bool cut = parts_.rows || parts_.heads || parts_.positions;
    if (!tape_.trace || tape_.trace->operations.empty()) return;
    if (!cut && all_layers_) return;
    cut_.left_out.emplace_back("/trace/operations");
    const bool alone = has_only_operations(*tape_.trace);
    tape_.trace->operations.clear();
    if (alone) tape_ = without_trace(tape_);
  }

  // ---- what has no meaning in the model

  void take_extras() {
    const bool cut = parts_.rows || parts_.heads || parts_.positions;
    if (!cut && all_layers_ && !selection_.kind) return;
    std::vector<Extra> kept;
    for (Extra& extra : tape_.extras) {
      const std::string path = extra.path;
      const auto layer = layer_path_of(path);
      if (layer &&
          (layer->number < layers_.first || layer->number >= layers_.last))
        continue;
      if (layer)
        extra.path = layer->before +
                     std::to_string(layer->number - layers_.first) +
                     layer->after;
      if ((cut && extra.tensor) || path.starts_with("/stack"))
        cut_.left_out.push_back(path);
      else
        kept.push_back(std::move(extra));
    }
    tape_.extras = std::move(kept);
    tape_.findings.clear();  // of objects that may now be others
  }

  Tape tape_;
  const Selection& selection_;
  Interval layers_;
  bool all_layers_ = true;
  Parts parts_;
  Cut cut_;
};

}  // namespace

Cut select(const Tape& tape, const Selection& selection) {
  return Selector(tape, selection).run();
}

}  // namespace kvtape
