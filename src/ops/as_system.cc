// Caches as another system holds them.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/names.h"
#include "kvtape/error.h"
#include "kvtape/systems.h"
#include "kvtape/transform.h"
#include "ops/rotated_source.h"
#include "ops/shard_tensor.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr Words<System, 3> kSystems{
    {{System::kEasyDeL, "easydel"},
     {System::kPenzai, "penzai"},
     {System::kTransformerLens, "transformer_lens"}}};

Tensor int_tensor(const Numbers& numbers, std::vector<Axis> axes, DType dtype) {
  const auto size = static_cast<std::size_t>(bytes_per_element(dtype));
  std::vector<std::byte> bytes(numbers.size() * size);
  for (std::size_t i = 0; i < numbers.size(); ++i)  // little-endian
    std::memcpy(bytes.data() + i * size, &numbers[i], size);
  return make_tensor(dtype, std::move(axes), std::move(bytes));
}

Tensor row_tensor(const Numbers& numbers) {
  return int_tensor(numbers, {{AxisKind::kBatch, "batch", std::ssize(numbers)}},
                    DType::kI32);
}

bool grows(const LayerCache& layer) { return layer.layout == Layout::kGrowing; }

// The same elements in C order with one batch axis, and a head axis.
class ReshapedSource final : public SlabSource {
 public:
  explicit ReshapedSource(Tensor tensor) : tensor_(std::move(tensor)) {}

  std::span<const std::byte> bytes() const override {
    return tensor_.source->bytes();
  }
  Storage storage() const override { return tensor_.source->storage(); }
  bool has_values() const override { return tensor_.source->has_values(); }

  void read(const Box& box, std::span<std::byte> out) const override {
    const auto bytes =
        out.size() /
        static_cast<std::size_t>(std::max<std::int64_t>(box.count[0], 1));
    for (std::int64_t row = 0; row < box.count[0]; ++row)
      tensor_.source->read(
          of_row(box, box.first[0] + row),
          out.subspan(static_cast<std::size_t>(row) * bytes, bytes));
  }

 private:
  Box of_row(const Box& box, std::int64_t row) const {
    Box result;
    std::int64_t inner = extent(tensor_, AxisKind::kBatch);
    for (const Axis& axis : tensor_.axes) {
      if (axis.kind == AxisKind::kBatch) {
        inner /= axis.size;
        result.first.push_back(row / inner);
        result.count.push_back(1);
        row %= inner;
        continue;
      }
      const std::size_t at = axis.kind == AxisKind::kPosition ? 1
                             : axis.kind == AxisKind::kHead   ? 2
                                                              : 3;
      result.first.push_back(box.first[at]);
      result.count.push_back(box.count[at]);
    }
    return result;
  }

  Tensor tensor_;
};

/// What all layers share: which slots of a row hold tokens.
struct Rows {
  std::int64_t length = 0;  // slots
  Numbers index;
  Numbers starts;
};

class Converter {
 public:
  Converter(const Tape& tape, System to, bool lossy)
      : tape_(tape), to_(to), lossy_(lossy) {}

  SystemConversion run() {
    drop_trace();
    tape_ = unstacked(tape_);
    plain_layers();
    dequantize();
    tape_ = with_axes(tape_, "batch,position,head,dim");
    for (auto& [number, layer] : tape_.cache.layers) canonical_axes(layer);
    find_rows();
    take_mask();
    rotate();
    if (to_ == System::kTransformerLens)
      become_growing();
    else
      become_fixed();
    if (to_ == System::kPenzai) become_named();
    tape_.source = std::string(name(to_));
    return {.tape = std::move(tape_), .lost = std::move(lost_)};
  }

 private:
  void lose(const std::string& object, const std::string& what) {
    if (!lossy_)
      throw Error(
          {.object = object,
           .text = fmt::format("{}: {} has no place for it", what, name(to_)),
           .hint = "--lossy leaves it out"});
    lost_.push_back(object + ": " + what);
  }

  void drop_trace() {
    if (tape_.trace) lose("/trace", "the trace");
    if (tape_.final_state) lose("/final", "the state after it");
    tape_ = without_trace(tape_);
    if (tape_.cache.tokens && to_ != System::kPenzai) {
      lose("/tokens", "tokens");
      tape_.cache.tokens.reset();
    }
  }

  // Slots in the order of positions; flags that only one system has.
  void plain_layers() {
    for (auto& [number, layer] : tape_.cache.layers) {
      const std::string path = fmt::format("/layers/{}", number);
      const Layout layout = layer.layout.value_or(Layout::kLinear);
      if (layout == Layout::kRing || layout == Layout::kShift ||
          layer.slot_position)
        contradiction(
            path, "layout", "slots in the order of positions",
            layer.slot_position ? "slot_position" : std::string(name(layout)));
      if (!layer.key || !layer.value)
        contradiction(path, "key", "key and value", "not both");
      if (layer.frozen.value_or(false) && to_ != System::kTransformerLens)
        lose(path, "frozen");
      if (to_ != System::kTransformerLens) layer.frozen.reset();
    }
  }

  void dequantize() {
    if (to_ == System::kEasyDeL) return;
    for (const auto& [number, layer] : tape_.cache.layers)
      if (layer.key->quantized() || layer.value->quantized())
        lose(fmt::format("/layers/{}", number), "quantization");
    tape_ = dequantized(tape_);
  }

  // One batch axis and a head axis, EasyDeL's names.
  static void canonical_axes(LayerCache& layer) {
    for (auto* tensor : {&*layer.key, &*layer.value}) {
      if (!tensor->quantized() && tensor->axes.size() != 4)
        tensor->source = std::make_shared<ReshapedSource>(*tensor);
      tensor->axes = {
          {AxisKind::kBatch, "batch", extent(*tensor, AxisKind::kBatch)},
          {AxisKind::kPosition, "position",
           extent(*tensor, AxisKind::kPosition)},
          {AxisKind::kHead, "head", extent(*tensor, AxisKind::kHead)},
          {AxisKind::kDim, "dim", extent(*tensor, AxisKind::kDim)}};
    }
  }

  // ---- which slots hold tokens

  Numbers numbers_of(const std::optional<Tensor>& tensor,
                     const std::string& object, const Numbers& otherwise) {
    if (!tensor) return otherwise;
    check_integers(*tensor, object, {});
    Numbers numbers = integers(*tensor);
    check_equal(object, "rows", std::ssize(otherwise), std::ssize(numbers));
    check_bounds(object, 0, rows_.length, numbers);
    return numbers;
  }

  void find_rows() {
    const auto& layers = tape_.cache.layers;
    if (layers.empty()) contradiction("/layers", "layers", "some", "none");
    bool first = true;
    for (const auto& [number, layer] : layers) {
      const std::string path = fmt::format("/layers/{}", number);
      const auto batch =
          static_cast<std::size_t>(extent(*layer.key, AxisKind::kBatch));
      Rows rows{.length = extent(*layer.key, AxisKind::kPosition)};
      rows_.length = rows.length;
      rows.index = grows(layer) ? Numbers(batch, rows.length)
                                : numbers_of(layer.index, path + "/index",
                                             Numbers(batch, 0));
      rows.starts =
          numbers_of(layer.starts, path + "/starts", Numbers(batch, 0));
      if (!first &&
          (rows.length != shared_.length || rows.index != shared_.index ||
           rows.starts != shared_.starts))
        contradiction(path, "index",
                      "length, index and starts of layer " +
                          std::to_string(layers.begin()->first),
                      "others");
      shared_ = std::move(rows);
      first = false;
    }
    rows_ = shared_;
  }

  bool is_live(std::size_t row, std::int64_t slot) const {
    return slot >= rows_.starts[row] && slot < rows_.index[row];
  }

  // A mask that only tells of pads on the left becomes starts.
  void take_mask() {
    auto& mask = tape_.cache.attention_mask;
    if (!mask) return;
    check_integers(*mask, "/attention_mask", {AxisKind::kPosition});
    const std::int64_t columns = extent(*mask, AxisKind::kPosition);
    check_equal("/attention_mask", "rows", std::ssize(rows_.index),
                extent(*mask, AxisKind::kBatch));
    const Numbers bits = row_major(*mask);
    bool told =
        columns >= *std::max_element(rows_.index.begin(), rows_.index.end());
    Numbers starts = rows_.starts;
    for (std::size_t row = 0; told && row < starts.size(); ++row) {
      const auto* at = bits.data() + static_cast<std::int64_t>(row) * columns;
      const auto* end = at + rows_.index[row];
      const auto pads =
          std::find_if(at, end, [](auto bit) { return bit != 0; });
      if (rows_.starts[row] == 0) starts[row] = pads - at;
      told = starts[row] == pads - at &&
             std::all_of(pads, end, [](auto bit) { return bit != 0; });
    }
    if (told) {
      rows_.starts = std::move(starts);
      mask.reset();
    } else if (to_ != System::kTransformerLens) {
      lose("/attention_mask", "a mask that hides more than pads on the left");
      mask.reset();
    }
  }

  static Numbers row_major(const Tensor& mask) {
    const bool position_first = !mask.axes.empty() &&
                                mask.axes.front().kind == AxisKind::kPosition &&
                                mask.axes.size() == 2;
    const Numbers bits = integers(mask);
    if (!position_first) return bits;
    const auto columns = static_cast<std::size_t>(mask.axes[0].size);
    const auto rows = static_cast<std::size_t>(mask.axes[1].size);
    Numbers result(bits.size());
    for (std::size_t i = 0; i < bits.size(); ++i)
      result[i % rows * columns + i / rows] = bits[i];
    return result;
  }

  // ---- rotary embedding

  void rotate() {
    const bool want = to_ != System::kTransformerLens;
    const RotarySpec all = tape_.cache.rotary;
    for (auto& [number, layer] : tape_.cache.layers) {
      const RotarySpec spec = merged(layer.rotary, all);
      const std::int64_t dim = extent(*layer.key, AxisKind::kDim);
      const Rotary rotary = resolved(spec, dim);
      if (rotary.keys_rotated == want) continue;
      const std::string path = fmt::format("/layers/{}/key", number);
      if (!spec.style) {
        lose(path, "how keys are rotated, which is not known");
        continue;
      }
      if (rotary.style == RotaryStyle::kNone) continue;
      rotate_key(path, rotary, want, *layer.key);
      for (RotarySpec* said : {&layer.rotary, &tape_.cache.rotary})
        if (said->keys_rotated || said == &tape_.cache.rotary)
          said->keys_rotated = said->queries_rotated = want;
    }
  }

  void rotate_key(const std::string& path, const Rotary& rotary, bool want,
                  Tensor& key) {
    const std::int64_t dim = extent(key, AxisKind::kDim);
    if (rotary.dims < 2 || rotary.dims > dim || rotary.dims % 2 != 0 ||
        !(rotary.attention_factor > 0))
      contradiction("/rotary", "dims", fmt::format("even, up to {}", dim),
                    std::to_string(rotary.dims));
    check_equal("/rotary", "inv_freq", rotary.dims / 2,
                rotary.inv_freq.empty() ? rotary.dims / 2
                                        : std::ssize(rotary.inv_freq));
    if (key.dtype == DType::kF64) lose(path, "f64: keys are rotated in f32");
    if (key.quantized())
      contradiction(path, "quantization", "none, where keys are rotated",
                    "codes");
    std::vector<std::int64_t> sizes;
    for (const Axis& axis : key.axes) sizes.push_back(axis.size);
    key.source = rotated_source(key.source, sizes, key.dtype, rotary,
                                rows_.starts, !want);
  }

  // ---- what the target holds

  std::int64_t common_index(const char* what) {
    const auto [least, most] =
        std::minmax_element(rows_.index.begin(), rows_.index.end());
    if (least == rows_.index.end()) return 0;
    if (*least != *most) lose("/layers", what);
    return *most;
  }

  void become_growing() {
    const std::int64_t length = common_index("an index for each row");
    if (length < rows_.length) lose("/layers", "slots beyond the index");
    if (!tape_.cache.attention_mask) tape_.cache.attention_mask = mask(length);
    for (auto& [number, layer] : tape_.cache.layers) {
      const std::string path = fmt::format("/layers/{}", number);
      for (auto* tensor : {&*layer.key, &*layer.value}) {
        const ShardPlace place{{{0, tensor->axes[0].size},
                                {0, length},
                                {0, tensor->axes[2].size},
                                {0, tensor->axes[3].size}}};
        *tensor = cut_to(*tensor, place, path);
      }
      layer.layout = Layout::kGrowing;
      layer.frozen = layer.frozen.value_or(false);
      layer.index = row_tensor(Numbers(rows_.index.size(), length));
      layer.starts = row_tensor(Numbers(rows_.index.size(), 0));
    }
    tape_.cache.metadata.sequence_length = std::max<std::int64_t>(length, 1);
  }

  // previous_attention_mask, as torch.ones makes it.
  Tensor mask(std::int64_t length) const {
    Numbers bits;
    for (std::size_t row = 0; row < rows_.index.size(); ++row)
      for (std::int64_t slot = 0; slot < length; ++slot)
        bits.push_back(is_live(row, slot) ? 1 : 0);
    return int_tensor(bits,
                      {{AxisKind::kBatch, "batch", std::ssize(rows_.index)},
                       {AxisKind::kPosition, "position", length}},
                      DType::kI64);
  }

  void become_fixed() {
    if (rows_.length == 0)
      contradiction("/layers", "position", "at least one slot", "0");
    Numbers index = rows_.index;
    if (to_ == System::kPenzai)
      index.assign(index.size(), common_index("an index for each row"));
    for (auto& [number, layer] : tape_.cache.layers) {
      layer.layout.reset();
      layer.index = row_tensor(index);
      layer.starts = row_tensor(rows_.starts);
    }
    tape_.cache.metadata.sequence_length = rows_.length;
  }

  bool has_pads() const {
    return std::any_of(rows_.starts.begin(), rows_.starts.end(),
                       [](std::int64_t start) { return start > 0; });
  }

  void become_named() {
    if (has_pads() && !tape_.cache.tokens)
      lose("/layers", "starts, which penzai learns from pad tokens");
    tape_ = with_axes(tape_, "batch,head,dim,position");
    const std::int64_t query_heads =
        tape_.cache.attention.query_heads.value_or(0);
    for (auto& [number, layer] : tape_.cache.layers) {
      const std::string path = fmt::format("/layers/{}", number);
      if (extent(*layer.key, AxisKind::kDim) !=
          extent(*layer.value, AxisKind::kDim))
        contradiction(path, "value_dim", "that of keys, as penzai has it",
                      "another");
      const std::int64_t heads = extent(*layer.key, AxisKind::kHead);
      const bool grouped = query_heads > heads;
      for (auto* tensor : {&*layer.key, &*layer.value}) {
        tensor->axes[1].name = grouped ? "head_groups" : "heads";
        tensor->axes[2].name = "projection";
        tensor->axes[3].name = "seq";
      }
    }
  }

  Tape tape_;
  System to_;
  bool lossy_;
  Rows rows_;
  Rows shared_;
  std::vector<std::string> lost_;
};

}  // namespace

std::string_view name(System system) { return word_of(kSystems, system); }

std::optional<System> system_from_name(std::string_view name) {
  return value_of(kSystems, name);
}

SystemConversion as_system(const Tape& tape, System system, bool lossy) {
  return Converter(tape, system, lossy).run();
}

}  // namespace kvtape
