// Widening, narrowing and scanning, element by element.
#include "kernels/scalar_convert.h"

#include <algorithm>
#include <cmath>

#include "kernels/elements.h"
#include "kernels/scan.h"

namespace kvtape::kernels {
namespace {

template <Element kElement>
void widen(const std::byte* data, std::int64_t stride, std::int64_t count,
           float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = element_at<kElement>(data, i * stride);
}

// Infinity without the sign, in the element's own bits.
template <typename Bits, Bits kInf>
void count_bits(const std::byte* data, std::int64_t count, Scan& scan) {
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  std::int64_t inf = 0;
  std::int64_t nan = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Bits bits =
        load<Bits>(data + i * static_cast<std::int64_t>(sizeof(Bits)));
    const Bits magnitude = static_cast<Bits>(bits & ~kSign);
    inf += magnitude == kInf;
    nan += magnitude > kInf;
  }
  scan.inf = inf;
  scan.nan = nan;
}

void hash_stripe(const std::byte* stripe,
                 const std::array<std::uint32_t, 2>& masks, ScanLanes& lanes,
                 std::uint32_t& any) {
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const auto word = load<std::uint32_t>(stripe + 4 * lane);
    const std::uint32_t mixed = (lanes[lane] ^ word) * kScanPrime;
    lanes[lane] = mixed ^ mixed >> kScanShift;
    any |= word & masks[lane % 2];
  }
}

}  // namespace

void scalar_widen(const std::byte* data, Element element, std::int64_t stride,
                  std::int64_t count, float* out) {
  switch (element) {
    case Element::kF64:
      return widen<Element::kF64>(data, stride, count, out);
    case Element::kF32:
      return widen<Element::kF32>(data, stride, count, out);
    case Element::kF16:
      return widen<Element::kF16>(data, stride, count, out);
    case Element::kBF16:
      return widen<Element::kBF16>(data, stride, count, out);
  }
}

void scalar_widen_codes(const std::int8_t* codes, float scale, Element element,
                        std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = rounded_to(element, static_cast<float>(codes[i]) * scale);
}

float scale_at(const Rows& rows, std::int64_t slot) {
  float scale = 0;
  scalar_widen(rows.scales + slot * rows.scale_stride * bytes_of(rows.element),
               rows.element, 1, 1, &scale);
  return scale;
}

void scalar_widen_row(const Rows& rows, std::int64_t slot, std::int64_t first,
                      std::int64_t count, float* out) {
  const std::byte* at =
      rows.data +
      (slot * rows.slot_stride + first * rows.dim_stride) * bytes_of(rows);
  if (rows.scales == nullptr)
    return scalar_widen(at, rows.element, rows.dim_stride, count, out);
  const float scale = scale_at(rows, slot);
  const auto* codes = reinterpret_cast<const std::int8_t*>(at);
  for (std::int64_t i = 0; i < count; ++i)
    scalar_widen_codes(codes + i * rows.dim_stride, scale, rows.element, 1,
                       out + i);
}

void scalar_narrow_f64(const double* data, std::int64_t count, Element element,
                       std::byte* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::byte* at = out + i * bytes_of(element);
    switch (element) {
      case Element::kF64:
        store(at, data[i]);
        break;
      case Element::kF32:
        store(at, static_cast<float>(data[i]));
        break;
      case Element::kF16:
        store(at, to_f16(data[i]));
        break;
      case Element::kBF16:
        store(at, to_bf16(data[i]));
        break;
    }
  }
}

void scalar_narrow_f32(const float* data, std::int64_t count, Element element,
                       std::byte* out) {
  if (element == Element::kF32) {
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    std::copy_n(bytes, count * bytes_of(element), out);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(data[i]);
    scalar_narrow_f64(&value, 1, element, out + i * bytes_of(element));
  }
}

void count_non_finite(const std::byte* data, Element element,
                      std::int64_t count, Scan& scan) {
  switch (element) {
    case Element::kF64:
      return count_bits<std::uint64_t, 0x7ffULL << 52>(data, count, scan);
    case Element::kF32:
      return count_bits<std::uint32_t, 0x7f800000>(data, count, scan);
    case Element::kF16:
      return count_bits<std::uint16_t, 0x7c00>(data, count, scan);
    case Element::kBF16:
      return count_bits<std::uint16_t, 0x7f80>(data, count, scan);
  }
}

Scan scalar_scan(const std::byte* data, Element element, std::int64_t count) {
  const std::int64_t bytes = count * bytes_of(element);
  const auto masks = magnitude_masks(element);
  ScanLanes lanes = scan_start();
  std::uint32_t any = 0;
  std::int64_t at = 0;
  for (; at + kStripe <= bytes; at += kStripe)
    hash_stripe(data + at, masks, lanes, any);
  if (at < bytes) {
    std::byte rest[kStripe] = {};
    std::memcpy(rest, data + at, static_cast<std::size_t>(bytes - at));
    hash_stripe(rest, masks, lanes, any);
  }
  Scan scan{.nonzero = any != 0, .hash = scan_hash(lanes, bytes)};
  count_non_finite(data, element, count, scan);
  return scan;
}

}  // namespace kvtape::kernels
