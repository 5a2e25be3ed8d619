// Element conversions in copies of slabs. These run over the new tokens of a
// step, not over the cache: they are written for exactness, not for speed.
#include "systems/slab_copy.h"

#include <cstring>
#include <limits>

#include "kernels/elements.h"
#include "systems/element.h"

namespace kvtape {
namespace {

// Elements [head, dim] of one position.
template <typename Element>
void copy_position(const SlabView& from, std::int64_t position,
                   const Element& element) {
  const std::int64_t size = bytes_per_element(from.dtype);
  const std::byte* start = from.data + position * from.strides[0] * size;
  for (std::int64_t head = 0; head < from.shape[1]; ++head)
    for (std::int64_t dim = 0; dim < from.shape[2]; ++dim)
      element(start + (head * from.strides[1] + dim * from.strides[2]) * size);
}

bool packed_positions(const SlabView& slab) {
  const bool dims = slab.shape[2] == 1 || slab.strides[2] == 1;
  return dims && (slab.shape[1] == 1 || slab.strides[1] == slab.shape[2]);
}

void copy_same(const SlabView& from, std::byte* to) {
  const std::int64_t size = bytes_per_element(from.dtype);
  const std::int64_t row = from.shape[1] * from.shape[2] * size;
  const bool packed = packed_positions(from);
  for (std::int64_t position = 0; position < from.shape[0]; ++position) {
    const std::byte* start = from.data + position * from.strides[0] * size;
    if (packed) {
      std::memcpy(to, start, static_cast<std::size_t>(row));
      to += row;
      continue;
    }
    copy_position(from, position, [&](const std::byte* at) {
      std::memcpy(to, at, static_cast<std::size_t>(size));
      to += size;
    });
  }
}

// Codes times the scales of their heads.
void copy_codes(const SlabView& from, DType dtype, std::byte* to) {
  const std::int64_t size = bytes_per_element(dtype);
  const std::int64_t scale_size = bytes_per_element(from.dtype);
  for (std::int64_t position = 0; position < from.shape[0]; ++position)
    for (std::int64_t head = 0; head < from.shape[1]; ++head) {
      const double scale = load_number(
          from.dtype, from.scales + (position * from.scale_strides[0] +
                                     head * from.scale_strides[1]) *
                                        scale_size);
      const std::byte* code =
          from.data + position * from.strides[0] + head * from.strides[1];
      for (std::int64_t dim = 0; dim < from.shape[2]; ++dim, to += size) {
        float number = 0;
        kernels::active().widen_codes(
            reinterpret_cast<const std::int8_t*>(code + dim * from.strides[2]),
            static_cast<float>(scale), element_of(from.dtype), 1, &number);
        store_number(static_cast<double>(number), dtype, to);
      }
    }
}

}  // namespace

SlabView cut(const SlabView& slab, std::int64_t first, std::int64_t count) {
  SlabView result = slab;
  result.data += first * slab.strides[0] * slab.element_bytes();
  result.shape[0] = count;
  if (slab.scales != nullptr)
    result.scales +=
        first * slab.scale_strides[0] * bytes_per_element(slab.dtype);
  return result;
}

SlabView packed_slab(const std::byte* data, DType dtype,
                     const std::array<std::int64_t, 3>& shape) {
  return {.data = data,
          .dtype = dtype,
          .shape = shape,
          .strides = {shape[1] * shape[2], shape[2], 1}};
}

void copy_slab(const SlabView& from, DType dtype, std::byte* to) {
  if (from.scales != nullptr) return copy_codes(from, dtype, to);
  if (from.dtype == dtype) return copy_same(from, to);
  const int size = bytes_per_element(dtype);
  for (std::int64_t position = 0; position < from.shape[0]; ++position)
    copy_position(from, position, [&](const std::byte* at) {
      store_number(load_number(from.dtype, at), dtype, to);
      to += size;
    });
}

double load_number(DType dtype, const std::byte* from) {
  const auto as = [from]<typename T>(T /*type*/) {
    return static_cast<double>(kernels::load<T>(from));
  };
  switch (dtype) {
    case DType::kF64:
      return as(double{});
    case DType::kF32:
      return as(float{});
    case DType::kF16:
      return static_cast<double>(
          kernels::from_f16(kernels::load<std::uint16_t>(from)));
    case DType::kBF16:
      return static_cast<double>(
          kernels::from_bf16(kernels::load<std::uint16_t>(from)));
    case DType::kI64:
      return as(std::int64_t{});
    case DType::kI32:
      return as(std::int32_t{});
    case DType::kI16:
      return as(std::int16_t{});
    case DType::kI8:
      return as(std::int8_t{});
    case DType::kU64:
      return as(std::uint64_t{});
    case DType::kU32:
      return as(std::uint32_t{});
    case DType::kU16:
      return as(std::uint16_t{});
    case DType::kU8:
    case DType::kBool:
      return as(std::uint8_t{});
  }
  return std::numeric_limits<double>::quiet_NaN();
}

void store_number(double number, DType dtype, std::byte* to) {
  const auto as = [number, to]<typename T>(T /*type*/) {
    kernels::store(to, static_cast<T>(number));
  };
  switch (dtype) {
    case DType::kF64:
      return as(double{});
    case DType::kF32:
      return as(float{});
    case DType::kF16:
      return kernels::store(to, kernels::to_f16(number));
    case DType::kBF16:
      return kernels::store(to, kernels::to_bf16(number));
    case DType::kI64:
      return as(std::int64_t{});
    case DType::kI32:
      return as(std::int32_t{});
    case DType::kI16:
      return as(std::int16_t{});
    case DType::kI8:
      return as(std::int8_t{});
    case DType::kU64:
      return as(std::uint64_t{});
    case DType::kU32:
      return as(std::uint32_t{});
    case DType::kU16:
      return as(std::uint16_t{});
    case DType::kU8:
    case DType::kBool:
      return as(std::uint8_t{});
  }
}

}  // namespace kvtape
