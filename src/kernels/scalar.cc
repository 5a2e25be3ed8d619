// The definition of attention: straight loops, every sum in a stated order.
// Cloned for CPUs with FMA because std::fma in software is 30 x slower; the
// bits are the same.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/base64.h"
#include "kernels/dispatch.h"
#include "kernels/elements.h"
#include "kernels/polynomials.h"
#include "kernels/scalar_convert.h"

// Clones are chosen while the program is loaded, before the thread sanitizer
// is ready: it would crash there.
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define KVTAPE_CLONED __attribute__((target_clones("default", "fma")))
#else
#define KVTAPE_CLONED
#endif

namespace kvtape::kernels {
namespace {

constexpr auto kLaneCount = static_cast<std::size_t>(kLanes);

// Lanes 8 -> 4 -> 2 -> 1, the upper half onto the lower.
[[gnu::always_inline]] inline float fold(const float (&lanes)[kLaneCount]) {
  float t[4];
  for (std::size_t i = 0; i < 4; ++i) t[i] = lanes[i] + lanes[i + 4];
  return (t[0] + t[2]) + (t[1] + t[3]);
}

// 2^t for t <= 0 (and up to 126), at least 2^-126; a NaN stays one.
[[gnu::always_inline]] inline float exp2_of(float t) {
  t = kExp2Least > t ? kExp2Least : t;
  const float z = t + kRoundMagic;
  const float r = t - (z - kRoundMagic);
  float p = kExp2[kExp2Degree];
  for (int i = kExp2Degree - 1; i >= 0; --i) p = std::fma(p, r, kExp2[i]);
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(z) << 23) +
                              std::bit_cast<std::uint32_t>(1.0F);
  return p * std::bit_cast<float>(power);
}

[[gnu::always_inline]] inline float tanh_of(float x) {
  const float size = std::fabs(x);
  const float z = x * x;
  float p = kTanh[kTanhTerms - 1];
  for (int i = kTanhTerms - 2; i >= 0; --i) p = std::fma(p, z, kTanh[i]);
  const float small = std::fma(x * z, p, x);
  const float capped = kTanhLarge < size ? kTanhLarge : size;
  const float large = 1.0F - 2.0F / (exp2_of(capped * kTanhLog) + 1.0F);
  return size < kTanhSmall ? small : std::copysign(large, x);
}

// Rows [begin, end) as packed floats, +0 beyond dim.
[[gnu::always_inline]] inline void pack(const Rows& rows, std::int64_t begin,
                                        std::int64_t end, std::int64_t dim,
                                        float* out) {
  const std::int64_t stride = packed_stride(dim);
  for (std::int64_t slot = begin; slot < end; ++slot) {
    float* row = out + (slot - begin) * stride;
    scalar_widen_row(rows, slot, 0, dim, row);
    std::fill(row + dim, row + stride, 0.0F);
  }
}

[[gnu::always_inline]] inline float dot(const float* query, const float* key,
                                        std::int64_t dim) {
  float lanes[kLaneCount] = {};
  for (std::int64_t d = 0; d < dim; d += kLanes)
    for (std::size_t lane = 0; lane < kLaneCount; ++lane)
      lanes[lane] =
          std::fma(query[d + static_cast<std::int64_t>(lane)],
                   key[d + static_cast<std::int64_t>(lane)], lanes[lane]);
  return fold(lanes);
}

KVTAPE_CLONED void scores(const Rows& key, Slots slots, std::int64_t dim,
                          const float* query, std::int64_t rows, float* scores,
                          float* scratch) {
  const std::int64_t stride = packed_stride(dim);
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, slots.end);
    pack(key, begin, end, dim, scratch);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t slot = begin; slot < end; ++slot)
        scores[row * kScoreStride + slot] =
            dot(query + row * stride, scratch + (slot - begin) * stride, dim);
  }
}

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

// Replaces what is not seen by -inf and returns the maximum of the rest.
[[gnu::always_inline]] inline float mask_and_max(float* scores, Slots slots,
                                                 const Visible& visible,
                                                 float cap) {
  float max = kMinusInf;
  for (std::int64_t slot = slots.begin; slot < slots.end; ++slot) {
    const bool seen = slot >= visible.begin && slot < visible.end &&
                      (visible.mask == nullptr || visible.mask[slot] != 0);
    float x = seen ? scores[slot] : kMinusInf;
    if (seen && cap != 0) x = tanh_of(x) * cap;
    scores[slot] = x;
    max = x > max ? x : max;
  }
  return max;
}

KVTAPE_CLONED SoftmaxSum softmax(float* scores, Slots slots,
                                 const Visible& visible, float cap) {
  const float max = mask_and_max(scores, slots, visible, cap);
  float lanes[kLaneCount] = {};
  for (std::int64_t slot = slots.begin; slot < slots.end; ++slot) {
    const float x = scores[slot];
    const float p = x == kMinusInf ? 0.0F : exp2_of(x - max);
    scores[slot] = p;
    lanes[slot % kLanes] += p;
  }
  return {.max = max, .sum = fold(lanes)};
}

// Continues the chain of one row over live slots.
// values: [slot, packed_stride(dim)], weights: [slot].
[[gnu::always_inline]] inline void continue_chain(const float* values,
                                                  const float* weights,
                                                  std::int64_t slots,
                                                  std::int64_t dim,
                                                  float* chain) {
  const std::int64_t stride = packed_stride(dim);
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const float p = weights[slot];
    if (p == 0) continue;
    for (std::int64_t d = 0; d < dim; ++d)
      chain[d] = std::fma(p, values[slot * stride + d], chain[d]);
  }
}

KVTAPE_CLONED void values(const Rows& value, Slots slots, std::int64_t last,
                          std::int64_t dim, const float* weights,
                          std::int64_t rows, const Sums& sums, float* scratch) {
  const std::int64_t stride = packed_stride(dim);
  for (std::int64_t begin = slots.begin, end = begin; begin < slots.end;
       begin = end) {
    end = std::min((begin / kBlock + 1) * kBlock, slots.end);
    pack(value, begin, end, dim, scratch);
    for (std::int64_t row = 0; row < rows; ++row) {
      float* chain = sums.chains + row * stride;
      float* out = sums.out + row * stride;
      if (begin % kBlock == 0) std::fill(chain, chain + dim, 0.0F);
      continue_chain(scratch, weights + row * kScoreStride + begin, end - begin,
                     dim, chain);
      if (end % kBlock != 0 && end != last) continue;
      for (std::int64_t d = 0; d < dim; ++d) out[d] += chain[d];
    }
  }
}

KVTAPE_CLONED void merge(const SoftmaxSum& span, const float* values,
                         std::int64_t dim, SoftmaxSum& total, float* out) {
  const float max = total.max > span.max ? total.max : span.max;
  const float a = exp2_of(total.max - max);
  const float b = exp2_of(span.max - max);
  total = {.max = max, .sum = std::fma(total.sum, a, span.sum * b)};
  for (std::int64_t d = 0; d < dim; ++d)
    out[d] = std::fma(out[d], a, values[d] * b);
}

void finish(float sum, std::int64_t dim, float* out) {
  for (std::int64_t d = 0; d < dim; ++d) {
    const float quotient = out[d] / sum;
    out[d] = std::isnan(quotient) ? std::bit_cast<float>(kNaNBits) : quotient;
  }
}

}  // namespace

constinit const Kernels kScalar = {
    .name = "scalar",
    .scores = scores,
    .softmax = softmax,
    .values = values,
    .merge = merge,
    .finish = finish,
    .widen = scalar_widen,
    .widen_codes = scalar_widen_codes,
    .narrow_f32 = scalar_narrow_f32,
    .narrow_f64 = scalar_narrow_f64,
    .scan = scalar_scan,
    .encode_base64 = scalar_encode_base64,
    .decode_base64 = scalar_decode_base64,
};

}  // namespace kvtape::kernels
