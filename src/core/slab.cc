#include "core/slab.h"

#include <string>

#include "kvtape/error.h"

namespace kvtape {
namespace {

AxisKind walked_axis(const Tensor& tensor) {
  return has_axis(tensor, AxisKind::kToken) ? AxisKind::kToken
                                            : AxisKind::kPosition;
}

void check_range(const Tensor& tensor, std::int64_t row, std::int64_t first,
                 std::int64_t count) {
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  const std::int64_t length = extent(tensor, walked_axis(tensor));
  if (row < 0 || row >= rows || first < 0 || count < 0 ||
      first > length - count)
    throw Error({.field = "range",
                 .expected = "row below " + std::to_string(rows) +
                             ", positions in [0, " + std::to_string(length) +
                             ")",
                 .found = "row " + std::to_string(row) + ", positions [" +
                          std::to_string(first) + ", " +
                          std::to_string(first + count) + ")"});
}

// The indices of a flattened batch row along the batch axes, last fastest.
void set_row(Box& box, const Tensor& tensor, std::int64_t row) {
  for (std::size_t i = tensor.axes.size(); i-- > 0;) {
    if (tensor.axes[i].kind != AxisKind::kBatch) continue;
    box.first[i] = row % tensor.axes[i].size;
    box.count[i] = 1;
    row /= tensor.axes[i].size;
  }
}

Box box_of(const Tensor& tensor, std::int64_t row, std::int64_t first,
           std::int64_t count) {
  Box box;
  box.first.assign(tensor.axes.size(), 0);
  for (const Axis& axis : tensor.axes) box.count.push_back(axis.size);
  set_row(box, tensor, row);
  for (std::size_t i = 0; i < tensor.axes.size(); ++i) {
    const AxisKind kind = tensor.axes[i].kind;
    if (kind == walked_axis(tensor)) {
      box.first[i] = first;
      box.count[i] = count;
    } else if (kind == AxisKind::kLayer) {
      box.first[i] = tensor.layer.value_or(0);
      box.count[i] = 1;
    }
  }
  return box;
}

// The tensor that a packed box is.
Tensor description_of(const Tensor& tensor, const Box& box) {
  Tensor packed = tensor;
  for (std::size_t i = 0; i < box.count.size(); ++i)
    packed.axes[i].size = box.count[i];
  packed.layer.reset();
  return packed;
}

SlabView view_of(const Tensor& tensor, const std::byte* data,
                 std::int64_t count) {
  const Strides by = strides(tensor);
  return {.data = data,
          .dtype = tensor.dtype,
          .shape = {count, extent(tensor, AxisKind::kHead),
                    extent(tensor, AxisKind::kDim)},
          .strides = {by.position, by.head, by.dim}};
}

}  // namespace

SlabView SlabReader::read(const Tensor& tensor, std::int64_t row,
                          std::int64_t first, std::int64_t count) {
  check_range(tensor, row, first, count);
  const std::int64_t size = bytes_per_element(tensor.dtype);
  const auto bytes = tensor.source->bytes();
  if (!bytes.empty()) {
    const std::int64_t at =
        row_offset(tensor, row) + first * strides(tensor).position;
    return view_of(tensor, bytes.data() + at * size, count);
  }
  const Box box = box_of(tensor, row, first, count);
  const Tensor packed = description_of(tensor, box);
  const auto needed = static_cast<std::size_t>(element_count(packed) * size);
  if (buffer_.size() < needed) buffer_.resize(needed);
  tensor.source->read(box, std::span(buffer_).first(needed));
  return view_of(packed, buffer_.data(), count);
}

}  // namespace kvtape
