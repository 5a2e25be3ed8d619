#include "reference/storage64.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace kvtape::reference {
namespace {

// The levels of NF4, as eformer writes them.
constexpr std::array<float, 16> kLevels = {-1.0F,
                                           -0.6961928009986877F,
                                           -0.5250730514526367F,
                                           -0.39491748809814453F,
                                           -0.28444138169288635F,
                                           -0.18477343022823334F,
                                           -0.09105003625154495F,
                                           0.0F,
                                           0.07958029955625534F,
                                           0.16093020141124725F,
                                           0.24611230194568634F,
                                           0.33791524171829224F,
                                           0.44070982933044434F,
                                           0.5626170039176941F,
                                           0.7229568362236023F,
                                           1.0F};
constexpr std::array<float, 15> kThresholds = {
    -0.8480964004993439F,   -0.6106329262256622F,  -0.4599952697753906F,
    -0.33967943489551544F,  -0.23460740596055984F, -0.13791173323988914F,
    -0.045525018125772476F, 0.03979014977812767F,  0.1202552504837513F,
    0.2035212516784668F,    0.2920137718319893F,   0.3893125355243683F,
    0.5016634166240692F,    0.6427869200706482F,   0.8614784181118011F};

// A binary format of 1 + exponent_bits + fraction_bits.
double rounded_to(double value, int exponent_bits, int fraction_bits) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = std::max(std::ilogb(value), 1 - bias);
  const double unit = std::ldexp(1.0, exponent - fraction_bits);
  const double result = std::nearbyint(value / unit) * unit;
  const double limit = std::ldexp(2.0, bias);
  if (std::fabs(result) >= limit) return std::copysign(HUGE_VAL, value);
  return result;
}

double smallest_normal(DType dtype) {
  return dtype == DType::kF16 ? std::ldexp(1.0, -14) : std::ldexp(1.0, -126);
}

double largest(const double* values, std::int64_t count) {
  double result = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::isnan(values[i])) return values[i];
    result = std::max(result, std::fabs(values[i]));
  }
  return result;
}

// Float to int8 as JAX converts: saturated, NaN to 0.
double int8_code(double value) {
  if (std::isnan(value)) return 0;
  return std::min(127.0, std::max(-128.0, std::nearbyint(value)));
}

void requantize_int8(double* row, std::int64_t count, DType dtype) {
  const double scale = rounded(
      rounded(largest(row, count) / 127, dtype) + smallest_normal(dtype),
      dtype);
  for (std::int64_t i = 0; i < count; ++i)
    row[i] = rounded(int8_code(rounded(row[i] / scale, dtype)) * scale, dtype);
}

// The code whose interval t[c] < v <= t[c+1] holds v; NaN sorts last.
std::size_t nf4_code(double value) {
  if (std::isnan(value)) return 15;
  std::size_t code = 0;
  while (code < 15 && value > static_cast<double>(kThresholds[code])) ++code;
  return code;
}

double nf4_value(std::size_t code, double absmax, DType dtype) {
  const double product = static_cast<double>(kLevels[code]) * absmax;
  return rounded(rounded(product, DType::kF32), dtype);
}

void requantize_nf4(double* block, std::int64_t count, DType dtype) {
  const double absmax = largest(block, count);
  for (std::int64_t i = 0; i < count; ++i)
    block[i] =
        nf4_value(nf4_code(rounded(block[i] / absmax, dtype)), absmax, dtype);
}

std::vector<std::byte> all_bytes(const SlabSource& source, std::int64_t count,
                                 int bytes_per_element) {
  std::vector<std::byte> result(
      static_cast<std::size_t>(count * bytes_per_element));
  source.read({.first = {0}, .count = {count}}, result);
  return result;
}

// A stored float, by its bits.
double decoded(const std::byte* at, DType dtype) {
  if (dtype == DType::kF64) {
    double value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint32_t bits = 0;
  std::memcpy(&bits, at, static_cast<std::size_t>(bytes_per_element(dtype)));
  if (dtype == DType::kBF16) bits <<= 16;
  if (dtype != DType::kF16) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<double>(value);
  }
  const int exponent = static_cast<int>(bits >> 10 & 31);
  const int fraction = static_cast<int>(bits & 1023);
  double value = exponent == 0 ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 31) value = fraction == 0 ? HUGE_VAL : std::nan("");
  return std::copysign(value, (bits & 0x8000) != 0 ? -1.0 : 1.0);
}

std::vector<double> scales_of(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  const int size = bytes_per_element(q.scale_dtype);
  const auto bytes = all_bytes(*q.scales, q.scale_count, size);
  std::vector<double> result;
  for (std::size_t at = 0; at < bytes.size();
       at += static_cast<std::size_t>(size))
    result.push_back(decoded(bytes.data() + at, q.scale_dtype));
  return result;
}

std::vector<double> dequantized(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  const bool int8 = q.scheme == Quantization::Scheme::kInt8;
  const auto codes = all_bytes(*tensor.source, q.payload_count, 1);
  const std::vector<double> scales = scales_of(tensor);
  const std::int64_t block =
      int8 ? extent(tensor, AxisKind::kDim) : q.block_size;
  std::vector<double> result;
  for (std::int64_t i = 0; i < element_count(tensor); ++i) {
    const double scale = scales[static_cast<std::size_t>(i / block)];
    const auto byte = std::to_integer<std::uint8_t>(
        codes[static_cast<std::size_t>(int8 ? i : i / 2)]);
    if (int8)
      result.push_back(
          rounded(static_cast<std::int8_t>(byte) * scale, tensor.dtype));
    else
      result.push_back(
          nf4_value(i % 2 == 0 ? byte >> 4 : byte & 15, scale, tensor.dtype));
  }
  return result;
}

}  // namespace

double rounded(double value, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<float>(value));
    case DType::kF16:
      return rounded_to(value, 5, 10);
    case DType::kBF16:
      return rounded_to(value, 8, 7);
    default:
      return value;
  }
}

std::vector<double> requantized(const std::vector<double>& values,
                                Quantization::Scheme scheme, DType dtype,
                                std::int64_t block) {
  std::vector<double> result = values;
  const auto count = static_cast<std::int64_t>(values.size());
  for (std::int64_t first = 0; first < count; first += block) {
    if (scheme == Quantization::Scheme::kInt8)
      requantize_int8(result.data() + first, block, dtype);
    else
      requantize_nf4(result.data() + first, block, dtype);
  }
  return result;
}

std::vector<double> elements(const Tensor& tensor) {
  return tensor.quantized() ? dequantized(tensor) : doubles(tensor);
}

}  // namespace kvtape::reference
