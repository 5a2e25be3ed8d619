// Rows of integer tensors, read through slabs.
#include "ops/integer_rows.h"

#include <cstring>
#include <limits>
#include <string>

#include "core/slab.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

template <typename T>
std::int64_t loaded(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  if constexpr (sizeof(T) == 8 && !std::numeric_limits<T>::is_signed)
    if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max()))
      throw Error({.field = "value",
                   .expected = "an integer below 2^63",
                   .found = std::to_string(value)});
  return static_cast<std::int64_t>(value);
}

using Load = std::int64_t (*)(const std::byte*);

Load load_of(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return loaded<std::int64_t>;
    case DType::kI32:
      return loaded<std::int32_t>;
    case DType::kI16:
      return loaded<std::int16_t>;
    case DType::kI8:
      return loaded<std::int8_t>;
    case DType::kU64:
      return loaded<std::uint64_t>;
    case DType::kU32:
      return loaded<std::uint32_t>;
    case DType::kU16:
      return loaded<std::uint16_t>;
    case DType::kU8:
    case DType::kBool:
      return loaded<std::uint8_t>;
    default:
      throw Error({.field = "dtype",
                   .expected = "integers",
                   .found = std::string(name(dtype))});
  }
}

// Anything but zero bytes is true, whatever the width.
bool any_bit(const std::byte* at, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; ++i)
    if (at[i] != std::byte{0}) return true;
  return false;
}

AxisKind walked_axis(const Tensor& tensor) {
  return has_axis(tensor, AxisKind::kToken) ? AxisKind::kToken
                                            : AxisKind::kPosition;
}

}  // namespace

std::vector<std::int64_t> integer_row(const Tensor& tensor, std::int64_t row,
                                      std::int64_t first, std::int64_t count) {
  const Load load = load_of(tensor.dtype);
  SlabReader reader;
  const SlabView view = reader.read(tensor, row, first, count);
  const std::int64_t step = view.strides[0] * bytes_per_element(view.dtype);
  std::vector<std::int64_t> result(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    result[static_cast<std::size_t>(i)] = load(view.data + i * step);
  return result;
}

std::vector<std::int64_t> integer_row(const std::optional<Tensor>& tensor,
                                      std::int64_t row) {
  if (!tensor) return {};
  return integer_row(*tensor, row, 0, extent(*tensor, walked_axis(*tensor)));
}

void read_mask(const Tensor& mask, std::int64_t row, std::int64_t first,
               std::int64_t count, std::int64_t columns, std::uint8_t* to) {
  // Slabs know one walked axis, here the tokens: positions stand as dims.
  Tensor tokens = mask;
  for (Axis& axis : tokens.axes)
    if (axis.kind == AxisKind::kPosition) axis.kind = AxisKind::kDim;
  SlabReader reader;
  const SlabView view = reader.read(tokens, row, first, count);
  const std::int64_t size = bytes_per_element(view.dtype);
  for (std::int64_t token = 0; token < count; ++token)
    for (std::int64_t slot = 0; slot < columns; ++slot)
      *to++ = any_bit(
          view.data + (token * view.strides[0] + slot * view.strides[2]) * size,
          size);
}

}  // namespace kvtape
