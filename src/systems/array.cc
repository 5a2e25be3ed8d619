#include "systems/array.h"

#include <algorithm>
#include <utility>

#include "core/box.h"
#include "core/checked.h"
#include "core/slab.h"
#include "kvtape/error.h"
#include "systems/quantize.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Sizes of the axes of a tensor in the order of an Array.
std::vector<Axis> packed_axes(const Tensor& tensor) {
  std::vector<Axis> axes;
  for (AxisKind kind : {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kToken,
                        AxisKind::kHead, AxisKind::kDim})
    for (const Axis& axis : tensor.axes)
      if (axis.kind == kind) axes.push_back(axis);
  return axes;
}

std::size_t bytes_of(const Tensor& tensor) {
  const auto bytes =
      checked_mul(element_count(tensor), bytes_per_element(tensor.dtype));
  if (!bytes)
    throw Error({.field = "shape",
                 .expected = "bytes that fit 63 bits",
                 .found = shape_text(tensor)});
  return at(*bytes);
}

// A box of an array whose first axes begin at `first`, the others at 0.
Box box_at(std::vector<std::int64_t> first, std::vector<std::int64_t> count) {
  first.resize(count.size(), 0);
  return {.first = std::move(first), .count = std::move(count)};
}

}  // namespace

std::vector<std::int64_t> Array::shape() const {
  std::vector<std::int64_t> result;
  for (const Axis& axis : axes) result.push_back(axis.size);
  return result;
}

Array array_of(const Tensor& tensor) {
  Array array{.dtype = tensor.dtype, .axes = packed_axes(tensor)};
  array.bytes.resize(bytes_of(tensor));
  if (array.bytes.empty()) return array;
  if (tensor.quantized()) {
    dequantize(tensor, array.bytes);
    return array;
  }
  SlabReader reader;
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  const std::int64_t length =
      extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
  const std::size_t row_bytes = array.bytes.size() / at(rows);
  for (std::int64_t row = 0; row < rows; ++row)
    copy_slab(reader.read(tensor, row, 0, length), tensor.dtype,
              array.bytes.data() + at(row) * row_bytes);
  return array;
}

Tensor tensor_of(Array array) {
  return make_tensor(array.dtype, std::move(array.axes),
                     std::move(array.bytes));
}

Array as_dtype(Array array, DType dtype) {
  if (array.dtype == dtype) return array;
  Array result{.dtype = dtype, .axes = std::move(array.axes)};
  const int from = bytes_per_element(array.dtype);
  const auto count = static_cast<std::int64_t>(array.bytes.size()) / from;
  result.bytes.resize(at(count * bytes_per_element(dtype)));
  copy_slab(packed_slab(array.bytes.data(), array.dtype, {1, 1, count}), dtype,
            result.bytes.data());
  return result;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string result = "(";
  for (const std::int64_t size : shape) {
    if (result.size() > 1) result += ", ";
    result += std::to_string(size);
  }
  return result + (shape.size() == 1 ? ",)" : ")");
}

std::int64_t clamped_start(std::int64_t start, std::int64_t size,
                           std::int64_t count) {
  if (start < 0) start += size;
  return std::clamp<std::int64_t>(start, 0, size - count);
}

void check_update_shape(std::span<const std::int64_t> operand,
                        std::span<const std::int64_t> update) {
  bool fits = operand.size() == update.size();
  for (std::size_t axis = 0; fits && axis < operand.size(); ++axis)
    fits = update[axis] <= operand[axis];
  if (!fits)
    throw Error(
        {.text = "dynamic_update_slice update shape must be smaller than "
                 "operand shape, got update shape " +
                 shape_text(update) + " for operand shape " +
                 shape_text(operand) + "."});
}

void dynamic_update_slice(Array& operand, const Array& update,
                          std::int64_t start) {
  const auto shape = operand.shape();
  const auto update_shape = update.shape();
  check_update_shape(shape, update_shape);
  if (operand.dtype != update.dtype)
    throw Error({.text = "lax.dynamic_update_slice requires arguments to have "
                         "the same dtypes, got " +
                         std::string(name(operand.dtype)) + ", " +
                         std::string(name(update.dtype)) + "."});
  paste_box(
      update.bytes,
      box_at({clamped_start(start, shape[0], update_shape[0])}, update_shape),
      shape, bytes_per_element(operand.dtype), operand.bytes.data());
}

void update_rows(Array& operand, const Array& update,
                 std::span<const std::int64_t> starts) {
  const auto shape = operand.shape();
  auto row_shape = update.shape();
  row_shape[0] = 1;
  if (starts.empty()) return;
  const std::size_t row_bytes = update.bytes.size() / starts.size();
  for (std::size_t row = 0; row < starts.size(); ++row)
    paste_box(std::span(update.bytes).subspan(row * row_bytes, row_bytes),
              box_at({static_cast<std::int64_t>(row),
                      clamped_start(starts[row], shape[1], row_shape[1])},
                     row_shape),
              shape, bytes_per_element(operand.dtype), operand.bytes.data());
}

}  // namespace kvtape
