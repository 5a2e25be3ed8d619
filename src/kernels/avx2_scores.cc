// Scores with AVX2: register tiles of rows x keys, each accumulator the eight
// lanes of one score, eight of them folded by one transposing reduction.
#include <algorithm>

#include "kernels/avx2.h"

namespace kvtape::kernels {
namespace {

// From this many rows on, packing a block of keys costs less than widening
// them again for every few rows.
constexpr std::int64_t kPackRows = 8;

// Keys are asked for this many slots ahead.
constexpr std::int64_t kAhead = 16;

constexpr std::int64_t kKeysAtOnce = 8;

// Halves of eight accumulators onto each other: [fold(a), fold(b)] of t[j].
KVTAPE_AVX2_INLINE __m256 fold4(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_blend_ps(a, b, 0xf0),
                       _mm256_permute2f128_ps(a, b, 0x21));
}

// u[j] of two pairs of t: [a0 a1 c0 c1 | b0 b1 d0 d1].
KVTAPE_AVX2_INLINE __m256 fold2(__m256 ab, __m256 cd) {
  return _mm256_add_ps(_mm256_blend_ps(ab, cd, 0xcc),
                       _mm256_shuffle_ps(ab, cd, 0x4e));
}

// Sums of the lanes of eight accumulators, in order.
KVTAPE_AVX2_INLINE __m256 fold8(const __m256* a) {
  const __m256 low = fold2(fold4(a[0], a[4]), fold4(a[1], a[5]));
  const __m256 high = fold2(fold4(a[2], a[6]), fold4(a[3], a[7]));
  return _mm256_hadd_ps(low, high);
}

// Sums of the lanes of four accumulators, in order.
KVTAPE_AVX2_INLINE __m128 fold8_of4(const __m256* a) {
  const __m256 pairs = fold2(fold4(a[0], a[2]), fold4(a[1], a[3]));
  const __m256 sums = _mm256_hadd_ps(pairs, pairs);
  return _mm_movelh_ps(_mm256_castps256_ps128(sums),
                       _mm256_extractf128_ps(sums, 1));
}

// Queries [row, stride] and the rows of scores [row, kScoreStride] they get.
struct Queries {
  const float* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t dim = 0;  // padded to whole lanes where keys are
  float* scores = nullptr;
};

// Whether a tile is the first to touch its keys, and asks for later ones.
enum class Touch : bool { kAgain, kFirst };

// sums[row * kKeys + key] of kRows queries and kKeys keys.
template <Element kElement, std::size_t kRows, std::size_t kKeys, Touch kTouch>
KVTAPE_AVX2_INLINE void dot_tile(const std::byte* const* keys,
                                 std::int64_t ahead, const Queries& queries,
                                 __m256* sums) {
#pragma GCC unroll 12
  for (std::size_t i = 0; i < kRows * kKeys; ++i) sums[i] = _mm256_setzero_ps();
  for (std::int64_t d = 0; d < queries.dim; d += kLanes) {
    __m256 rows[kRows];
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row)
      rows[row] = _mm256_loadu_ps(
          queries.data + static_cast<std::int64_t>(row) * queries.stride + d);
#pragma GCC unroll 8
    for (std::size_t key = 0; key < kKeys; ++key) {
      const std::byte* at = keys[key] + d * bytes_of(kElement);
      if constexpr (kTouch == Touch::kFirst)
        _mm_prefetch(reinterpret_cast<const char*>(at + ahead), _MM_HINT_T0);
      const __m256 k = load8<kElement>(at);
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row)
        sums[row * kKeys + key] =
            _mm256_fmadd_ps(rows[row], k, sums[row * kKeys + key]);
    }
  }
}

// Scores of kRows queries and the eight keys; column is the first key's slot.
template <Element kElement, std::size_t kRows, Touch kTouch>
KVTAPE_AVX2_INLINE void eight_keys(const std::byte* const* keys,
                                   std::int64_t ahead, const Queries& queries,
                                   std::int64_t column) {
  constexpr std::size_t kKeys = kRows == 1 ? 8 : kRows == 4 ? 2 : 4;
  for (std::size_t first = 0; first < kKeysAtOnce; first += kKeys) {
    __m256 sums[kRows * kKeys];
    dot_tile<kElement, kRows, kKeys, kTouch>(keys + first, ahead, queries,
                                             sums);
    float* out = queries.scores + column + first;
    if constexpr (kRows == 1) {
      _mm256_storeu_ps(out, fold8(sums));
    } else if constexpr (kRows < 4) {
      const __m256 two = fold8(sums);
      _mm_storeu_ps(out, _mm256_castps256_ps128(two));
      _mm_storeu_ps(out + kScoreStride, _mm256_extractf128_ps(two, 1));
      if constexpr (kRows == 3)
        _mm_storeu_ps(out + 2 * kScoreStride, fold8_of4(sums + 8));
    } else {
      const __m256 all = fold8(sums);
      const __m128 low = _mm256_castps256_ps128(all);
      const __m128 high = _mm256_extractf128_ps(all, 1);
      _mm_storel_pi(reinterpret_cast<__m64*>(out), low);
      _mm_storeh_pi(reinterpret_cast<__m64*>(out + kScoreStride), low);
      _mm_storel_pi(reinterpret_cast<__m64*>(out + 2 * kScoreStride), high);
      _mm_storeh_pi(reinterpret_cast<__m64*>(out + 3 * kScoreStride), high);
    }
  }
}

template <Element kElement, Touch kTouch>
KVTAPE_AVX2_INLINE void some_rows(std::int64_t rows,
                                  const std::byte* const* keys,
                                  std::int64_t ahead, const Queries& queries,
                                  std::int64_t column) {
  switch (rows) {
    case 1:
      return eight_keys<kElement, 1, kTouch>(keys, ahead, queries, column);
    case 2:
      return eight_keys<kElement, 2, kTouch>(keys, ahead, queries, column);
    case 3:
      return eight_keys<kElement, 3, kTouch>(keys, ahead, queries, column);
    default:
      return eight_keys<kElement, 4, kTouch>(keys, ahead, queries, column);
  }
}

// Three rows at a time keep the registers full; four in one go save a read.
std::int64_t next_rows(std::int64_t rows) {
  return rows == 4 ? 4 : std::min<std::int64_t>(rows, 3);
}

// Keys of slots [begin, end), `key` being the first of them, in place.
template <Element kElement, Touch kTouch>
KVTAPE_AVX2 void score_rows(const std::byte* key, std::int64_t stride_bytes,
                            Slots slots, std::int64_t rows, Queries queries) {
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += kKeysAtOnce) {
    const std::byte* keys[kKeysAtOnce];
    for (std::int64_t i = 0; i < kKeysAtOnce; ++i)
      keys[i] = key + (std::min(slot + i, slots.end - 1) - slots.begin) *
                          stride_bytes;
    Queries part = queries;
    const std::int64_t ahead = kAhead * stride_bytes;
    std::int64_t count = next_rows(rows);
    some_rows<kElement, kTouch>(count, keys, ahead, part, slot);
    for (std::int64_t row = count; row < rows; row += count) {
      count = next_rows(rows - row);
      part.data = queries.data + row * queries.stride;
      part.scores = queries.scores + row * kScoreStride;
      some_rows<kElement, Touch::kAgain>(count, keys, ahead, part, slot);
    }
  }
}

void score_in_place(const Rows& key, Slots slots, std::int64_t rows,
                    const Queries& queries) {
  const std::int64_t stride = key.slot_stride * bytes_of(key.element);
  const std::byte* data = key.data + slots.begin * stride;
  if (key.element == Element::kF32)
    score_rows<Element::kF32, Touch::kFirst>(data, stride, slots, rows,
                                             queries);
  else if (key.element == Element::kF16)
    score_rows<Element::kF16, Touch::kFirst>(data, stride, slots, rows,
                                             queries);
  else
    score_rows<Element::kBF16, Touch::kFirst>(data, stride, slots, rows,
                                              queries);
}

}  // namespace

bool avx2_in_place(const Rows& rows, std::int64_t dim) {
  return rows.dim_stride == 1 && dim % kLanes == 0 &&
         rows.element != Element::kF64;
}

void avx2_scores(const Rows& key, Slots slots, std::int64_t dim,
                 const float* query, std::int64_t rows, float* scores,
                 float* scratch) {
  const std::int64_t stride = packed_stride(dim);
  const Queries queries{.data = query,
                        .stride = stride,
                        .dim = stride - kLanes,
                        .scores = scores};
  if (rows < kPackRows && avx2_in_place(key, dim))
    return score_in_place(key, slots, rows, queries);
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += kBlock) {
    const Slots block{.begin = begin,
                      .end = std::min(begin + kBlock, slots.end)};
    avx2_pack(key, block.begin, block.end, dim, scratch);
    score_rows<Element::kF32, Touch::kAgain>(
        reinterpret_cast<const std::byte*>(scratch),
        stride * static_cast<std::int64_t>(sizeof(float)), block, rows,
        queries);
  }
}

}  // namespace kvtape::kernels
