// Scores with AVX2: register tiles of rows x keys, each accumulator the eight
// lanes of one score, eight of them folded by one transposing reduction.
#include <algorithm>

#include "kernels/avx2.h"

namespace kvtape::kernels {
namespace {

constexpr std::size_t kKeysAtOnce = 8;

// Packed keys that all rows see before the next ones: 16 KiB of dim 128.
constexpr std::int64_t kPackedRun = 32;

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

// Eight keys, and the scales of those that are codes.
struct EightKeys {
  const std::byte* data[kKeysAtOnce];
  float scales[kKeysAtOnce];
};

// Queries [row, stride] and the rows of scores [row, kScoreStride] they get.
struct Queries {
  const float* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t dim = 0;  // padded to whole lanes where keys are
  float* scores = nullptr;
};

// Adds the products of lanes [d, d + 8) of kRows queries and kKeys keys to
// sums[row * kKeys + key]. The fewer of both wait in registers.
template <typename Stored, std::size_t kRows, std::size_t kKeys>
KVTAPE_AVX2_INLINE void add_products(const std::byte* const* keys,
                                     const typename Stored::Scale* scales,
                                     const Queries& queries, std::int64_t d,
                                     __m256* sums) {
  const auto query = [&](std::size_t row)
      __attribute__((target("avx2,fma,f16c"), always_inline)) {
    return _mm256_loadu_ps(queries.data +
                           static_cast<std::int64_t>(row) * queries.stride + d);
  };
  const auto add = [&](std::size_t row, std::size_t key, __m256 q, __m256 k)
      __attribute__((target("avx2,fma,f16c"), always_inline)) {
    __m256& sum = sums[row * kKeys + key];
    sum = _mm256_fmadd_ps(q, k, sum);
  };
  const auto key_at = [&](std::size_t key)
      __attribute__((target("avx2,fma,f16c"), always_inline)) {
    return Stored::load(keys[key] + d * Stored::kBytes, scales[key]);
  };
  if constexpr (kRows <= kKeys) {
    __m256 q[kRows];
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) q[row] = query(row);
#pragma GCC unroll 8
    for (std::size_t key = 0; key < kKeys; ++key) {
      const __m256 k = key_at(key);
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) add(row, key, q[row], k);
    }
  } else {
    __m256 k[kKeys];
#pragma GCC unroll 8
    for (std::size_t key = 0; key < kKeys; ++key) k[key] = key_at(key);
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) {
      const __m256 q = query(row);
#pragma GCC unroll 8
      for (std::size_t key = 0; key < kKeys; ++key) add(row, key, q, k[key]);
    }
  }
}

// sums[row * kKeys + key] of kRows queries and kKeys keys from kFirst on.
template <typename Stored, Where kWhere, std::size_t kRows, std::size_t kKeys,
          std::size_t kFirst>
KVTAPE_AVX2_INLINE void dot_tile(const EightKeys& keys, const Queries& queries,
                                 Prefetcher& prefetcher, __m256* sums) {
  typename Stored::Scale scales[kKeys];
#pragma GCC unroll 8
  for (std::size_t key = 0; key < kKeys; ++key)
    scales[key] =
        Stored::scale(keys.scales + kFirst, static_cast<std::int64_t>(key));
#pragma GCC unroll 12
  for (std::size_t i = 0; i < kRows * kKeys; ++i) sums[i] = _mm256_setzero_ps();
  Prefetcher next = prefetcher;
  for (std::int64_t d = 0; d < queries.dim; d += kLanes) {
    if constexpr (kWhere == Where::kInPlace)
#pragma GCC unroll 4
      for (std::size_t key = 0; key < kKeys; ++key) next.next<Stored>(d);
    add_products<Stored, kRows, kKeys>(keys.data + kFirst, scales, queries, d,
                                       sums);
  }
  prefetcher = next;
}

// Lanes [row, kKeysAtOnce] of kRows queries and keys [kFirst, kKeysAtOnce), at
// most kKeys of them at a time.
template <typename Stored, Where kWhere, std::size_t kRows, std::size_t kKeys,
          std::size_t kFirst = 0>
KVTAPE_AVX2_INLINE void dot_tiles(const EightKeys& keys, const Queries& queries,
                                  Prefetcher& next, __m256* lanes) {
  constexpr std::size_t kCount = std::min(kKeys, kKeysAtOnce - kFirst);
  __m256 sums[kRows * kCount];
  dot_tile<Stored, kWhere, kRows, kCount, kFirst>(keys, queries, next, sums);
#pragma GCC unroll 4
  for (std::size_t row = 0; row < kRows; ++row)
#pragma GCC unroll 8
    for (std::size_t key = 0; key < kCount; ++key)
      lanes[row * kKeysAtOnce + kFirst + key] = sums[row * kCount + key];
  if constexpr (kFirst + kCount < kKeysAtOnce)
    dot_tiles<Stored, kWhere, kRows, kKeys, kFirst + kCount>(keys, queries,
                                                             next, lanes);
}

// Keys of a tile. With one query of floats memory is read in order, key after
// key: there is little to compute, and the CPU foresees it best. The more there
// is to compute, the more accumulators, up to what the registers hold.
template <typename Stored>
constexpr std::size_t keys_of_tile(std::size_t rows) {
  if (rows == 1) return 4 / Stored::kBytes;
  return rows == 4 ? 3 : 4;
}

// Scores of kRows queries and the eight keys; column is the first key's slot.
template <typename Stored, Where kWhere, std::size_t kRows>
KVTAPE_AVX2 void eight_keys(const EightKeys& keys, const Queries& queries,
                            Prefetcher& next, std::int64_t column) {
  constexpr std::size_t kKeys = keys_of_tile<Stored>(kRows);
  __m256 lanes[kRows * kKeysAtOnce];
  dot_tiles<Stored, kWhere, kRows, kKeys>(keys, queries, next, lanes);
#pragma GCC unroll 4
  for (std::size_t row = 0; row < kRows; ++row)
    _mm256_storeu_ps(queries.scores + row * kScoreStride + column,
                     fold8(lanes + row * kKeysAtOnce));
}

template <typename Stored, Where kWhere>
void some_rows(std::int64_t rows, const EightKeys& keys, const Queries& queries,
               Prefetcher& next, std::int64_t column) {
  switch (rows) {
    case 1:
      return eight_keys<Stored, kWhere, 1>(keys, queries, next, column);
    case 2:
      return eight_keys<Stored, kWhere, 2>(keys, queries, next, column);
    case 3:
      return eight_keys<Stored, kWhere, 3>(keys, queries, next, column);
    default:
      return eight_keys<Stored, kWhere, 4>(keys, queries, next, column);
  }
}

// Tiles of nearly the same height in place: 8 rows are 4 and 4, not 3, 3 and
// 2. Three rows and four keys keep the registers fullest where there are many.
template <Where kWhere>
std::int64_t next_rows(std::int64_t rows) {
  constexpr std::int64_t kMostRows = kWhere == Where::kPacked ? 3 : 4;
  const std::int64_t tiles = (rows + kMostRows - 1) / kMostRows;
  return (rows + tiles - 1) / tiles;
}

// Keys of slots [begin, end), `first` being the first of them.
struct Keys {
  const std::byte* first = nullptr;
  std::int64_t stride_bytes = 0;
  const float* scales = nullptr;  // [slot], of codes
  Slots slots;
  Ahead ahead;
};

// Scores of a few rows and the keys of slots [begin, end), eight at a time.
template <typename Stored, Where kWhere>
void score_run(const Keys& keys, Slots run, std::int64_t rows,
               const Queries& queries, Prefetcher& next) {
  constexpr auto kStep = static_cast<std::int64_t>(kKeysAtOnce);
  for (std::int64_t slot = run.begin; slot < run.end; slot += kStep) {
    EightKeys eight;
    for (std::int64_t i = 0; i < kStep; ++i) {
      const std::int64_t number =
          std::min(slot + i, keys.slots.end - 1) - keys.slots.begin;
      eight.data[i] = keys.first + number * keys.stride_bytes;
      if (keys.scales != nullptr) eight.scales[i] = keys.scales[number];
    }
    some_rows<Stored, kWhere>(rows, eight, queries, next, slot);
  }
}

// All rows for a run of keys before the next run: few keys where they come
// from memory, as many as fit into L1 where they are packed.
template <typename Stored, Where kWhere>
void score_rows(const Keys& keys, std::int64_t rows, const Queries& queries) {
  constexpr std::int64_t kRun =
      kWhere == Where::kPacked ? kPackedRun : kKeysAtOnce;
  const Slots slots = keys.slots;
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += kRun) {
    const Slots run{.begin = slot, .end = std::min(slot + kRun, slots.end)};
    Prefetcher next(keys.ahead.from(slot - slots.begin), run.end - run.begin);
    for (std::int64_t row = 0, count = 0; row < rows; row += count) {
      count = next_rows<kWhere>(rows - row);
      Queries part = queries;
      part.data += row * queries.stride;
      part.scores += row * kScoreStride;
      score_run<Stored, kWhere>(keys, run, count, part, next);
    }
  }
}

// scales: [slot], of codes.
void score_in_place(const Rows& key, Slots slots, const float* scales,
                    std::int64_t rows, const Queries& queries) {
  const std::int64_t stride = key.slot_stride * bytes_of(key);
  const Keys keys{.first = key.data + slots.begin * stride,
                  .stride_bytes = stride,
                  .scales = key.scales == nullptr ? nullptr : scales,
                  .slots = slots,
                  .ahead = key.ahead};
  with_stored(key, [&]<typename Stored>(Stored) {
    score_rows<Stored, Where::kInPlace>(keys, rows, queries);
  });
}

}  // namespace

void avx2_scores(const Rows& key, Slots slots, std::int64_t dim,
                 const float* query, std::int64_t rows, float* scores,
                 float* scratch) {
  const std::int64_t stride = packed_stride(dim);
  const Queries queries{.data = query,
                        .stride = stride,
                        .dim = stride - kLanes,
                        .scores = scores};
  float scales[kSpan];
  if (rows < kFewRows && avx2_in_place(key, slots, dim, scales))
    return score_in_place(key, slots, scales, rows, queries);
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += kBlock) {
    const Slots block{.begin = begin,
                      .end = std::min(begin + kBlock, slots.end)};
    avx2_pack(key, block.begin, block.end, dim, scratch);
    const Keys keys{
        .first = reinterpret_cast<const std::byte*>(scratch),
        .stride_bytes = stride * static_cast<std::int64_t>(sizeof(float)),
        .slots = block};
    score_rows<Plain<Element::kF32>, Where::kPacked>(keys, rows, queries);
  }
}

}  // namespace kvtape::kernels
