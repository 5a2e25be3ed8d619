// Softmax and merging with AVX2, and the table of the AVX2 kernels.
#include "kernels/avx2.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/dispatch.h"
#include "kernels/polynomials.h"
#include "kernels/scalar_convert.h"

namespace kvtape::kernels {
namespace {

KVTAPE_AVX2_INLINE __m256 exp2_of(__m256 t) {
  // The operand order of max keeps a NaN.
  t = _mm256_max_ps(_mm256_set1_ps(kExp2Least), t);
  const __m256 magic = _mm256_set1_ps(kRoundMagic);
  const __m256 z = _mm256_add_ps(t, magic);
  const __m256 r = _mm256_sub_ps(t, _mm256_sub_ps(z, magic));
  __m256 p = _mm256_set1_ps(kExp2[kExp2Degree]);
#pragma GCC unroll 6
  for (int i = kExp2Degree - 1; i >= 0; --i)
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExp2[i]));
  const __m256i power =
      _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(z), 23),
                       _mm256_castps_si256(_mm256_set1_ps(1.0F)));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

KVTAPE_AVX2_INLINE float exp2_of(float t) {
  return _mm256_cvtss_f32(exp2_of(_mm256_set1_ps(t)));
}

KVTAPE_AVX2_INLINE __m256 tanh_of(__m256 x) {
  const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0F));
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
  const __m256 z = _mm256_mul_ps(x, x);
  __m256 p = _mm256_set1_ps(kTanh[kTanhTerms - 1]);
#pragma GCC unroll 4
  for (int i = kTanhTerms - 2; i >= 0; --i)
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(kTanh[i]));
  const __m256 small = _mm256_fmadd_ps(_mm256_mul_ps(x, z), p, x);
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 capped = _mm256_min_ps(_mm256_set1_ps(kTanhLarge), size);
  const __m256 power = exp2_of(_mm256_mul_ps(capped, _mm256_set1_ps(kTanhLog)));
  const __m256 large = _mm256_sub_ps(
      one, _mm256_div_ps(_mm256_set1_ps(2.0F), _mm256_add_ps(power, one)));
  const __m256 is_small =
      _mm256_cmp_ps(size, _mm256_set1_ps(kTanhSmall), _CMP_LT_OQ);
  // The sign bit of a NaN does not matter: finish() writes one NaN.
  return _mm256_blendv_ps(_mm256_or_ps(large, sign), small, is_small);
}

// Mask bytes of eight slots, those beyond the end 0.
KVTAPE_AVX2_INLINE __m256i load_mask(const std::uint8_t* mask,
                                     std::int64_t slots) {
  std::uint64_t bytes = 0;
  __builtin_memcpy(&bytes, mask,
                   static_cast<std::size_t>(std::min(slots, kLanes)));
  return _mm256_cvtepu8_epi32(
      _mm_cvtsi64_si128(static_cast<std::int64_t>(bytes)));
}

// All ones in the lanes of eight slots that a row sees.
KVTAPE_AVX2_INLINE __m256 seen_lanes(std::int64_t slot, std::int64_t last,
                                     const Visible& visible) {
  const __m256i number =
      _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(slot)),
                       _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const auto begin =
      static_cast<int>(std::clamp<std::int64_t>(visible.begin, 0, kSpan));
  const auto end =
      static_cast<int>(std::clamp<std::int64_t>(visible.end, 0, last));
  const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), number);
  __m256i seen = _mm256_andnot_si256(
      before, _mm256_cmpgt_epi32(_mm256_set1_epi32(end), number));
  if (visible.mask != nullptr) {
    const __m256i mask = load_mask(visible.mask + slot, last - slot);
    seen = _mm256_andnot_si256(_mm256_cmpeq_epi32(mask, _mm256_setzero_si256()),
                               seen);
  }
  return _mm256_castsi256_ps(seen);
}

KVTAPE_AVX2_INLINE __m256 minus_inf() {
  return _mm256_set1_ps(-std::numeric_limits<float>::infinity());
}

// Replaces what is not seen by -inf and returns the maximum of the rest.
KVTAPE_AVX2_INLINE float mask_and_max(float* scores, Slots slots,
                                      const Visible& visible, float cap) {
  __m256 max = minus_inf();
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += kLanes) {
    __m256 x = _mm256_loadu_ps(scores + slot);
    if (cap != 0) x = _mm256_mul_ps(tanh_of(x), _mm256_set1_ps(cap));
    x = _mm256_blendv_ps(minus_inf(), x, seen_lanes(slot, slots.end, visible));
    _mm256_storeu_ps(scores + slot, x);
    max = _mm256_max_ps(x, max);
  }
  float lanes[kLanes];
  _mm256_storeu_ps(lanes, max);
  return *std::max_element(lanes, lanes + kLanes);
}

KVTAPE_AVX2_INLINE float fold(__m256 lanes) {
  const __m128 t = _mm_add_ps(_mm256_castps256_ps128(lanes),
                              _mm256_extractf128_ps(lanes, 1));
  const __m128 u = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(u, _mm_movehdup_ps(u)));
}

KVTAPE_AVX2 SoftmaxSum softmax(float* scores, Slots slots,
                               const Visible& visible, float cap) {
  const float max = mask_and_max(scores, slots, visible, cap);
  __m256 sum = _mm256_setzero_ps();
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += kLanes) {
    const __m256 x = _mm256_loadu_ps(scores + slot);
    const __m256 live = _mm256_cmp_ps(x, minus_inf(), _CMP_NEQ_UQ);
    const __m256 p =
        _mm256_and_ps(exp2_of(_mm256_sub_ps(x, _mm256_set1_ps(max))), live);
    _mm256_storeu_ps(scores + slot, p);
    sum = _mm256_add_ps(sum, p);
  }
  return {.max = max, .sum = fold(sum)};
}

KVTAPE_AVX2 void merge(const SoftmaxSum& span, const float* values,
                       std::int64_t dim, SoftmaxSum& total, float* out) {
  const float max = total.max > span.max ? total.max : span.max;
  const float a = exp2_of(total.max - max);
  const float b = exp2_of(span.max - max);
  total = {.max = max, .sum = __builtin_fmaf(total.sum, a, span.sum * b)};
  std::int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes)
    _mm256_storeu_ps(
        out + d, _mm256_fmadd_ps(_mm256_loadu_ps(out + d), _mm256_set1_ps(a),
                                 _mm256_mul_ps(_mm256_loadu_ps(values + d),
                                               _mm256_set1_ps(b))));
  for (; d < dim; ++d) out[d] = __builtin_fmaf(out[d], a, values[d] * b);
}

KVTAPE_AVX2 void finish(float sum, std::int64_t dim, float* out) {
  const __m256 nan =
      _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(kNaNBits)));
  std::int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    const __m256 x =
        _mm256_div_ps(_mm256_loadu_ps(out + d), _mm256_set1_ps(sum));
    _mm256_storeu_ps(
        out + d, _mm256_blendv_ps(x, nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  }
  for (; d < dim; ++d) {
    const float x = out[d] / sum;
    out[d] = x != x ? std::bit_cast<float>(kNaNBits) : x;
  }
}

}  // namespace

constinit const Kernels kAvx2 = {
    .name = "avx2",
    .scores = avx2_scores,
    .softmax = softmax,
    .values = avx2_values,
    .merge = merge,
    .finish = finish,
    .widen = avx2_widen,
    .widen_codes = avx2_widen_codes,
    .narrow_f32 = avx2_narrow_f32,
    .narrow_f64 = scalar_narrow_f64,
    .scan = avx2_scan,
    .encode_base64 = avx2_encode_base64,
    .decode_base64 = avx2_decode_base64,
};

}  // namespace kvtape::kernels
