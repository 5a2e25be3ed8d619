// EasyDeL's quantizers, one rounding for each operation.
#include "kernels/quantized.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

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

// Code c stands for thresholds[c-1] < x <= thresholds[c].
constexpr std::array<float, 15> kThresholds = {
    -0.8480964004993439F,   -0.6106329262256622F,  -0.4599952697753906F,
    -0.33967943489551544F,  -0.23460740596055984F, -0.13791173323988914F,
    -0.045525018125772476F, 0.03979014977812767F,  0.1202552504837513F,
    0.2035212516784668F,    0.2920137718319893F,   0.3893125355243683F,
    0.5016634166240692F,    0.6427869200706482F,   0.8614784181118011F};

float element(const std::byte* data, Element logical, std::int64_t index) {
  switch (logical) {
    case Element::kF16:
      return element_at<Element::kF16>(data, index);
    case Element::kBF16:
      return element_at<Element::kBF16>(data, index);
    default:
      return element_at<Element::kF32>(data, index);
  }
}

void store_element(float value, Element logical, std::byte* data,
                   std::int64_t index) {
  std::byte* at = data + index * bytes_of(logical);
  if (logical == Element::kF16)
    store(at, to_f16(static_cast<double>(value)));
  else if (logical == Element::kBF16)
    store(at, to_bf16(static_cast<double>(value)));
  else
    store(at, value);
}

// NaN if there is one.
float largest_magnitude(const float* data, std::int64_t count) {
  float max = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float size = std::fabs(data[i]);
    if (size > max || std::isnan(size)) max = size;
    if (std::isnan(max)) break;
  }
  return max;
}

// The smallest normal number.
float tiny(Element logical) {
  return logical == Element::kF16 ? 0x1p-14F : 0x1p-126F;
}

// Ties to even; XLA's conversion saturates and takes NaN as 0.
std::int8_t int8_of(float x) {
  constexpr float kRound = 0x1.8p23F;
  if (std::isnan(x)) return 0;
  const float rounded = std::clamp(x, -128.0F, 127.0F) + kRound - kRound;
  return static_cast<std::int8_t>(rounded);
}

// NaN, which sorts last, is 15.
unsigned nf4_code(float x) {
  unsigned code = 0;
  for (const float threshold : kThresholds)
    if (!(x <= threshold)) ++code;
  return code;
}

}  // namespace

void dequantize_int8(const std::int8_t* weight, const std::byte* scale,
                     Element logical, std::int64_t rows, std::int64_t dim,
                     float* out) {
  for (std::int64_t row = 0; row < rows; ++row)
    active().widen_codes(weight + row * dim, element(scale, logical, row),
                         logical, dim, out + row * dim);
}

void quantize_int8(const float* data, Element logical, std::int64_t rows,
                   std::int64_t dim, std::int8_t* weight, std::byte* scale) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float amax = largest_magnitude(data + row * dim, dim);
    const float step = rounded_to(logical, amax / 127.0F);
    const float factor = rounded_to(logical, step + tiny(logical));
    store_element(factor, logical, scale, row);
    for (std::int64_t d = row * dim; d < (row + 1) * dim; ++d)
      weight[d] = int8_of(rounded_to(logical, data[d] / factor));
  }
}

void dequantize_nf4(const std::uint8_t* packed, const std::byte* absmax,
                    Element logical, std::int64_t block, std::int64_t first,
                    std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = first + i;
    const unsigned pair = packed[at / 2];
    const unsigned code = at % 2 == 0 ? pair >> 4 : pair & 15;
    const float factor = element(absmax, logical, at / block);
    out[i] = rounded_to(logical, kLevels[code] * factor);
  }
}

void quantize_nf4(const float* data, Element logical, std::int64_t block,
                  std::int64_t count, std::uint8_t* packed, std::byte* absmax) {
  float max = 0;
  unsigned upper = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i % block == 0) {
      max = largest_magnitude(data + i, block);
      store_element(max, logical, absmax, i / block);
    }
    const unsigned code = nf4_code(rounded_to(logical, data[i] / max));
    if (i % 2 == 0)
      upper = code << 4;
    else
      packed[i / 2] = static_cast<std::uint8_t>(upper | code);
  }
}

}  // namespace kvtape::kernels
