// All elements of a tensor as doubles, widened exactly.
#include <cmath>
#include <cstring>

#include "core/slab.h"
#include "kvtape/error.h"
#include "kvtape/tensor.h"

namespace kvtape {
namespace {

// IEEE binary formats of 16 bits: 1 sign, `exponent_bits`, the rest fraction.
double from_half(std::uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> fraction_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1)
    return std::copysign(fraction == 0 ? HUGE_VAL : std::nan(""), sign);
  const int implied = exponent == 0 ? 0 : 1 << fraction_bits;
  const int scale = (exponent == 0 ? 1 : exponent) - bias - fraction_bits;
  return sign * std::ldexp(implied + fraction, scale);
}

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

double element(DType dtype, const std::byte* at) {
  switch (dtype) {
    case DType::kF64:
      return load<double>(at);
    case DType::kF32:
      return static_cast<double>(load<float>(at));
    case DType::kF16:
      return from_half(load<std::uint16_t>(at), 5);
    case DType::kBF16:
      return from_half(load<std::uint16_t>(at), 8);
    default:
      throw Error({.field = "dtype",
                   .expected = "floating point",
                   .found = std::string(name(dtype))});
  }
}

void append(const SlabView& view, std::vector<double>& out) {
  const std::int64_t size = bytes_per_element(view.dtype);
  for (std::int64_t position = 0; position < view.shape[0]; ++position)
    for (std::int64_t head = 0; head < view.shape[1]; ++head)
      for (std::int64_t dim = 0; dim < view.shape[2]; ++dim)
        out.push_back(
            element(view.dtype, view.data + size * (position * view.strides[0] +
                                                    head * view.strides[1] +
                                                    dim * view.strides[2])));
}

}  // namespace

std::vector<double> doubles(const Tensor& tensor) {
  const std::int64_t positions =
      extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
  std::vector<double> result;
  result.reserve(static_cast<std::size_t>(element_count(tensor)));
  SlabReader reader;
  for (std::int64_t row = 0; row < extent(tensor, AxisKind::kBatch); ++row)
    append(reader.read(tensor, row, 0, positions), result);
  return result;
}

}  // namespace kvtape
