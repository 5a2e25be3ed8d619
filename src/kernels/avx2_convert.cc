// Widening, narrowing, packing and scanning with AVX2 and F16C.
#include <algorithm>

#include "kernels/avx2.h"
#include "kernels/scalar_convert.h"
#include "kernels/scan.h"

namespace kvtape::kernels {
namespace {

template <Element kElement>
KVTAPE_AVX2 void widen(const std::byte* data, std::int64_t count, float* out) {
  constexpr std::int64_t kSize = bytes_of(kElement);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    _mm256_storeu_ps(out + i, load8<kElement>(data + i * kSize));
  scalar_widen(data + i * kSize, kElement, 1, count - i, out + i);
}

// Rounded to the element's format.
template <Element kElement>
KVTAPE_AVX2_INLINE __m256 rounded8(__m256 x) {
  if constexpr (kElement == Element::kF16) {
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  } else if constexpr (kElement == Element::kBF16) {
    // No NaN overflows here: those of products with bf16 end in zeros.
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_srli_epi32(
        _mm256_and_si256(bits, _mm256_set1_epi32(0x10000)), 16);
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, odd),
                                         _mm256_set1_epi32(0x7fff));
    return _mm256_castsi256_ps(
        _mm256_and_si256(sum, _mm256_set1_epi32(~0xffff)));
  } else {
    return x;
  }
}

template <Element kElement>
KVTAPE_AVX2 void widen_codes(const std::int8_t* codes, float scale,
                             std::int64_t count, float* out) {
  const __m256 factor = _mm256_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m128i eight =
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
    _mm256_storeu_ps(out + i, rounded8<kElement>(_mm256_mul_ps(x, factor)));
  }
  scalar_widen_codes(codes + i, scale, kElement, count - i, out + i);
}

template <typename Stored>
bool rounds_in_registers(const float* scales, std::int64_t count) {
  if constexpr (Stored::kBytes == 1 && Stored::kElement != Element::kF32)
    return std::all_of(scales, scales + count, [](float scale) {
      return scale > 0 && scale < Stored::kScaleLimit;
    });
  return true;
}

// Turns eight vectors of eight into columns.
KVTAPE_AVX2_INLINE void transpose(__m256 (&v)[8]) {
  __m256 pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  __m256 quads[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
    v[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
  }
}

// data: [dim, slot] with slots side by side; whole tiles of 8 x 8 only.
template <Element kElement>
KVTAPE_AVX2 void pack_tiles(const std::byte* data, std::int64_t dim_stride,
                            std::int64_t slots, std::int64_t dims,
                            std::int64_t out_stride, float* out) {
  constexpr std::int64_t kSize = bytes_of(kElement);
  for (std::int64_t dim = 0; dim < dims; dim += kLanes)
    for (std::int64_t slot = 0; slot < slots; slot += kLanes) {
      __m256 v[8];
#pragma GCC unroll 8
      for (std::int64_t i = 0; i < kLanes; ++i)
        v[i] = load8<kElement>(data + ((dim + i) * dim_stride + slot) * kSize);
      transpose(v);
#pragma GCC unroll 8
      for (std::int64_t i = 0; i < kLanes; ++i)
        _mm256_storeu_ps(out + (slot + i) * out_stride + dim, v[i]);
    }
}

void pack_slots_first(const std::byte* data, const Rows& rows,
                      std::int64_t slots, std::int64_t dims,
                      std::int64_t out_stride, float* out) {
  switch (rows.element) {
    case Element::kF64:
      return pack_tiles<Element::kF64>(data, rows.dim_stride, slots, dims,
                                       out_stride, out);
    case Element::kF32:
      return pack_tiles<Element::kF32>(data, rows.dim_stride, slots, dims,
                                       out_stride, out);
    case Element::kF16:
      return pack_tiles<Element::kF16>(data, rows.dim_stride, slots, dims,
                                       out_stride, out);
    case Element::kBF16:
      return pack_tiles<Element::kBF16>(data, rows.dim_stride, slots, dims,
                                        out_stride, out);
  }
}

KVTAPE_AVX2 void narrow_f16(const float* data, std::int64_t count,
                            std::byte* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out + 2 * i),
        _mm256_cvtps_ph(_mm256_loadu_ps(data + i), _MM_FROUND_TO_NEAREST_INT));
  scalar_narrow_f32(data + i, count - i, Element::kF16, out + 2 * i);
}

KVTAPE_AVX2 void narrow_bf16(const float* data, std::int64_t count,
                             std::byte* out) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i half = _mm256_set1_epi32(0x7fff);
  const __m256i quiet = _mm256_set1_epi32(0x40);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 x = _mm256_loadu_ps(data + i);
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, one);
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(bits, half), odd), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i kept =
        _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, quiet), nan);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i),
                     _mm_packus_epi32(_mm256_castsi256_si128(kept),
                                      _mm256_extracti128_si256(kept, 1)));
  }
  scalar_narrow_f32(data + i, count - i, Element::kBF16, out + 2 * i);
}

// Lanes, all bits seen, and the largest magnitude seen, of a run of stripes.
struct Scanned {
  __m256i lanes[2];
  __m256i any;
  __m256i most;
};

template <bool kWords16>
KVTAPE_AVX2_INLINE void scan_stripe(const std::byte* at, __m256i masks,
                                    Scanned& scanned) {
  const __m256i prime = _mm256_set1_epi32(static_cast<int>(kScanPrime));
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i words =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at) + half);
    const __m256i mixed =
        _mm256_mullo_epi32(_mm256_xor_si256(scanned.lanes[half], words), prime);
    scanned.lanes[half] =
        _mm256_xor_si256(mixed, _mm256_srli_epi32(mixed, kScanShift));
    const __m256i sizes = _mm256_and_si256(words, masks);
    scanned.any = _mm256_or_si256(scanned.any, sizes);
    scanned.most = kWords16 ? _mm256_max_epu16(scanned.most, sizes)
                            : _mm256_max_epu32(scanned.most, sizes);
  }
}

// The least magnitude that is not finite, in each word. A lower word of f64
// may reach its all ones by chance: that only costs a count.
KVTAPE_AVX2 __m256i non_finite_words(Element element) {
  switch (element) {
    case Element::kF64:
      return _mm256_set1_epi64x(0x7ff00000ffffffff);
    case Element::kF32:
      return _mm256_set1_epi32(0x7f800000);
    case Element::kF16:
      return _mm256_set1_epi16(0x7c00);
    case Element::kBF16:
      return _mm256_set1_epi16(0x7f80);
  }
  return _mm256_setzero_si256();
}

template <bool kWords16>
KVTAPE_AVX2 Scan scan_bytes(const std::byte* data, Element element,
                            std::int64_t count) {
  const std::int64_t bytes = count * bytes_of(element);
  const auto [even, odd] = magnitude_masks(element);
  const __m256i masks = _mm256_set1_epi64x(
      static_cast<std::int64_t>(even | std::uint64_t{odd} << 32));
  ScanLanes lanes = scan_start();
  auto* stored = reinterpret_cast<__m256i*>(lanes.data());
  Scanned scanned{
      .lanes = {_mm256_loadu_si256(stored), _mm256_loadu_si256(stored + 1)},
      .any = _mm256_setzero_si256(),
      .most = _mm256_setzero_si256()};
  std::int64_t at = 0;
  for (; at + kStripe <= bytes; at += kStripe)
    scan_stripe<kWords16>(data + at, masks, scanned);
  if (at < bytes) {
    std::byte rest[kStripe] = {};
    std::memcpy(rest, data + at, static_cast<std::size_t>(bytes - at));
    scan_stripe<kWords16>(rest, masks, scanned);
  }
  _mm256_storeu_si256(stored, scanned.lanes[0]);
  _mm256_storeu_si256(stored + 1, scanned.lanes[1]);
  Scan scan{.nonzero = _mm256_testz_si256(scanned.any, scanned.any) == 0,
            .hash = scan_hash(lanes, bytes)};
  const __m256i least = non_finite_words(element);
  const __m256i more = kWords16 ? _mm256_max_epu16(scanned.most, least)
                                : _mm256_max_epu32(scanned.most, least);
  const __m256i reached = kWords16 ? _mm256_cmpeq_epi16(more, scanned.most)
                                   : _mm256_cmpeq_epi32(more, scanned.most);
  if (_mm256_movemask_epi8(reached) != 0)
    count_non_finite(data, element, count, scan);
  return scan;
}

}  // namespace

void avx2_widen(const std::byte* data, Element element, std::int64_t stride,
                std::int64_t count, float* out) {
  if (stride != 1) return scalar_widen(data, element, stride, count, out);
  switch (element) {
    case Element::kF64:
      return widen<Element::kF64>(data, count, out);
    case Element::kF32:
      return widen<Element::kF32>(data, count, out);
    case Element::kF16:
      return widen<Element::kF16>(data, count, out);
    case Element::kBF16:
      return widen<Element::kBF16>(data, count, out);
  }
}

void avx2_widen_codes(const std::int8_t* codes, float scale, Element element,
                      std::int64_t count, float* out) {
  switch (element) {
    case Element::kF16:
      return widen_codes<Element::kF16>(codes, scale, count, out);
    case Element::kBF16:
      return widen_codes<Element::kBF16>(codes, scale, count, out);
    default:
      return widen_codes<Element::kF32>(codes, scale, count, out);
  }
}

void avx2_widen_row(const Rows& rows, std::int64_t slot, std::int64_t first,
                    std::int64_t count, float* out) {
  if (rows.dim_stride != 1)
    return scalar_widen_row(rows, slot, first, count, out);
  const std::byte* at =
      rows.data + (slot * rows.slot_stride + first) * bytes_of(rows);
  if (rows.scales == nullptr)
    return avx2_widen(at, rows.element, 1, count, out);
  avx2_widen_codes(reinterpret_cast<const std::int8_t*>(at),
                   scale_at(rows, slot), rows.element, count, out);
}

bool avx2_in_place(const Rows& rows, Slots slots, std::int64_t dim,
                   float* scales) {
  if (rows.dim_stride != 1 || dim % kLanes != 0 ||
      rows.element == Element::kF64)
    return false;
  if (rows.scales == nullptr) return true;
  const std::int64_t count = slots.end - slots.begin;
  scalar_widen(
      rows.scales + slots.begin * rows.scale_stride * bytes_of(rows.element),
      rows.element, rows.scale_stride, count, scales);
  return with_stored(rows, [&]<typename Stored>(Stored) {
    return rounds_in_registers<Stored>(scales, count);
  });
}

void avx2_pack(const Rows& rows, std::int64_t begin, std::int64_t end,
               std::int64_t dim, float* out) {
  const std::int64_t stride = packed_stride(dim);
  const std::int64_t count = end - begin;
  // Whole tiles are turned; the other slots and dims go one by one.
  const bool tiled =
      rows.slot_stride == 1 && rows.dim_stride != 1 && rows.scales == nullptr;
  const std::int64_t slots = tiled ? count / kLanes * kLanes : 0;
  const std::int64_t dims = tiled ? dim / kLanes * kLanes : 0;
  pack_slots_first(rows.data + begin * rows.slot_stride * bytes_of(rows), rows,
                   slots, dims, stride, out);
  for (std::int64_t slot = 0; slot < count; ++slot) {
    const std::int64_t from = slot < slots ? dims : 0;
    float* row = out + slot * stride;
    avx2_widen_row(rows, begin + slot, from, dim - from, row + from);
    std::fill(row + dim, row + stride, 0.0F);
  }
}

void avx2_narrow_f32(const float* data, std::int64_t count, Element element,
                     std::byte* out) {
  if (element == Element::kF16) return narrow_f16(data, count, out);
  if (element == Element::kBF16) return narrow_bf16(data, count, out);
  scalar_narrow_f32(data, count, element, out);
}

Scan avx2_scan(const std::byte* data, Element element, std::int64_t count) {
  return bytes_of(element) == 2 ? scan_bytes<true>(data, element, count)
                                : scan_bytes<false>(data, element, count);
}

}  // namespace kvtape::kernels
