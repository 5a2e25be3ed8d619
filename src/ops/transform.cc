// Tapes in another dtype, order of axes or arrangement of layers.
#include "kvtape/transform.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "ops/tape_tensors.h"
#include "ops/tensor_checks.h"
#include "ops/tensor_sources.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

Sizes sizes_of(const Tensor& tensor) {
  Sizes sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  return sizes;
}

// Transforms a source once, however many layers share it as one stack.
class Shared {
 public:
  template <typename Make>
  void replace(Tensor& tensor, const Make& make) {
    auto& made = made_[tensor.source.get()];
    if (!made) made = make(tensor);
    tensor.source = made;
  }

 private:
  std::map<const SlabSource*, std::shared_ptr<const SlabSource>> made_;
};

void check_numbers(const TapeTensor& named) {
  const Tensor& tensor = **named.tensor;
  check_tensor(tensor, named.path,
               {has_axis(tensor, AxisKind::kToken) ? AxisKind::kToken
                                                   : AxisKind::kPosition,
                AxisKind::kHead, AxisKind::kDim});
  if (tensor.quantized()) check_quantized(tensor, named.path);
}

void dequantize(const TapeTensor& named) {
  Tensor& tensor = **named.tensor;
  if (!tensor.quantized()) return;
  check_numbers(named);
  if (tensor.axes.empty() || tensor.axes.back().kind != AxisKind::kDim)
    contradiction(named.path, "axes", "dim last", shape_text(tensor));
  tensor.source = dequantized_source(tensor);
  tensor.quantization = {};
}

// ---- order of axes

struct AxisWord {
  AxisKind kind;
  std::string_view word;
};
constexpr auto kAxisWords = std::to_array<AxisWord>({
    {AxisKind::kLayer, "layer"},
    {AxisKind::kBatch, "batch"},
    {AxisKind::kPosition, "position"},
    {AxisKind::kHead, "head"},
    {AxisKind::kDim, "dim"},
});

[[noreturn]] void refuse_order(std::string_view order) {
  contradiction("--axes", "", "batch, position, head and dim, each once",
                fmt::format("'{}'", order),
                "for example --axes batch,head,position,dim");
}

std::vector<AxisKind> parsed_order(std::string_view order) {
  std::vector<AxisKind> kinds;
  std::string_view rest = order;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    const auto found =
        std::find_if(kAxisWords.begin(), kAxisWords.end(),
                     [&](const AxisWord& axis) { return axis.word == word; });
    if (found == kAxisWords.end() ||
        std::find(kinds.begin(), kinds.end(), found->kind) != kinds.end())
      refuse_order(order);
    kinds.push_back(found->kind);
    more = comma != rest.npos;
    if (more) rest.remove_prefix(comma + 1);
  }
  const auto has = [&](AxisKind kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  for (const AxisKind kind :
       {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kDim})
    if (!has(kind)) refuse_order(order);
  if (!has(AxisKind::kLayer)) kinds.insert(kinds.begin(), AxisKind::kLayer);
  return kinds;
}

// The axes of the tensor, by number, in the order of their kinds.
std::vector<std::size_t> axis_order(const TapeTensor& named,
                                    const std::vector<AxisKind>& kinds,
                                    std::string_view text) {
  const Tensor& tensor = **named.tensor;
  std::vector<std::size_t> order;
  for (const AxisKind kind : kinds)
    for (std::size_t axis = 0; axis < tensor.axes.size(); ++axis)
      if (tensor.axes[axis].kind == kind) order.push_back(axis);
  if (order.size() != tensor.axes.size())
    contradiction(named.path, "axes", "an order with head", std::string(text),
                  "leave head out only where no tensor has that axis");
  return order;
}

void reorder(const TapeTensor& named, const std::vector<std::size_t>& order,
             Shared& shared, const std::shared_ptr<Window>& window) {
  Tensor& tensor = **named.tensor;
  if (std::is_sorted(order.begin(), order.end())) return;
  if (tensor.quantized())
    contradiction(named.path, "axes", "batch,position,head,dim",
                  "another order",
                  "codes of quantized tensors have one order; add --dtype to "
                  "write what they stand for");
  shared.replace(tensor, [&](const Tensor& from) {
    return reordered_source(from.source, sizes_of(from), order,
                            bytes_per_element(from.dtype), window);
  });
  std::vector<Axis> axes;
  for (const std::size_t axis : order) axes.push_back(tensor.axes[axis]);
  tensor.axes = std::move(axes);
}

}  // namespace

Tape without_trace(const Tape& tape) {
  Tape result = tape;
  result.trace.reset();
  result.final_state.reset();
  std::erase_if(result.extras, [](const Extra& extra) {
    return extra.path.starts_with("/trace/") || extra.path == "/trace" ||
           extra.path.starts_with("/final/") || extra.path == "/final";
  });
  return result;
}

Tape dequantized(const Tape& tape) {
  Tape result = tape;
  for (const TapeTensor& named : float_tensors(result)) dequantize(named);
  return result;
}

Tape with_dtype(const Tape& tape, DType dtype) {
  Tape result = tape;
  Shared shared;
  for (const TapeTensor& named : float_tensors(result)) {
    check_numbers(named);
    dequantize(named);
    Tensor& tensor = **named.tensor;
    if (tensor.dtype == dtype) continue;
    shared.replace(tensor, [&](const Tensor& from) {
      return converted_source(from.source, sizes_of(from), from.dtype, dtype);
    });
    tensor.dtype = dtype;
  }
  return result;
}

Tape with_axes(const Tape& tape, std::string_view order) {
  const std::vector<AxisKind> kinds = parsed_order(order);
  Tape result = tape;
  Shared shared;
  const auto window = std::make_shared<Window>();
  for (const TapeTensor& named : float_tensors(result)) {
    if (!named.stored) continue;
    check_numbers(named);
    reorder(named, axis_order(named, kinds, order), shared, window);
  }
  return result;
}

Tape unstacked(const Tape& tape) {
  Tape result = tape;
  for (const TapeTensor& named : tensors_of(result)) {
    Tensor& tensor = **named.tensor;
    if (!tensor.layer) continue;
    const auto layer = std::find_if(
        tensor.axes.begin(), tensor.axes.end(),
        [](const Axis& axis) { return axis.kind == AxisKind::kLayer; });
    if (layer == tensor.axes.end()) continue;
    tensor.source =
        slice_source(tensor.source, sizes_of(tensor),
                     static_cast<std::size_t>(layer - tensor.axes.begin()),
                     *tensor.layer, bytes_per_element(tensor.dtype));
    tensor.axes.erase(layer);
    tensor.layer.reset();
  }
  std::erase_if(result.extras, [](const Extra& extra) {
    return extra.path.starts_with("/stack");
  });
  return result;
}

}  // namespace kvtape
