// Weighted sums of values with AVX2: tiles of rows x dims stay in registers
// while the slots go by, a few slots at a time so that they stay in L1.
#include <algorithm>
#include <array>
#include <span>

#include "kernels/avx2.h"

namespace kvtape::kernels {
namespace {

// Slots whose values go through the registers before the next dims do.
constexpr std::int64_t kSlotsAtOnce = 16;

constexpr int kMostRows = 6;

// Values of neighbouring slots, and the weights and chains of a few rows.
struct Tile {
  const std::byte* values = nullptr;
  std::int64_t slot_bytes = 0;
  const float* scales = nullptr;  // [slot], of codes
  std::int64_t slots = 0;
  const float* weights = nullptr;  // [row, kScoreStride]
  float* chains = nullptr;         // [row, stride]
  std::int64_t stride = 0;
  Prefetcher* next = nullptr;
};

// Continues the chains of kRows rows and kVectors * 8 dims.
template <typename Stored, std::size_t kRows, std::size_t kVectors>
KVTAPE_AVX2_INLINE void continue_chains(const Tile& tile, std::int64_t dim) {
  constexpr std::size_t kBytes = kLanes * Stored::kBytes;
  const auto stride = static_cast<std::size_t>(tile.stride);
  float* out = tile.chains + dim;
  __m256 chains[kRows][kVectors];
#pragma GCC unroll 6
  for (std::size_t row = 0; row < kRows; ++row)
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kVectors; ++i)
      chains[row][i] = _mm256_loadu_ps(out + row * stride + i * kLanes);
  const std::byte* at = tile.values + dim * Stored::kBytes;
  Prefetcher next = *tile.next;
  for (std::int64_t slot = 0; slot < tile.slots; ++slot) {
    const auto scale = Stored::scale(tile.scales, slot);
    __m256 v[kVectors];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kVectors; ++i)
      v[i] = Stored::load(at + i * kBytes, scale);
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < std::int64_t{kVectors}; ++i)
      next.next<Stored>(i * kLanes);
#pragma GCC unroll 6
    for (std::size_t row = 0; row < kRows; ++row) {
      const __m256 p =
          _mm256_broadcast_ss(tile.weights + row * std::size_t{kScoreStride} +
                              static_cast<std::size_t>(slot));
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kVectors; ++i)
        chains[row][i] = _mm256_fmadd_ps(p, v[i], chains[row][i]);
    }
    at += tile.slot_bytes;
  }
  *tile.next = next;
#pragma GCC unroll 6
  for (std::size_t row = 0; row < kRows; ++row)
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kVectors; ++i)
      _mm256_storeu_ps(out + row * stride + i * kLanes, chains[row][i]);
}

// All dims from `dim` on, as many vectors at a time as there are registers.
template <typename Stored, std::size_t kRows, std::size_t kVectors>
KVTAPE_AVX2_INLINE void all_dims(const Tile& tile, std::int64_t dim,
                                 std::int64_t dims) {
  constexpr std::int64_t kStep = kVectors * kLanes;
  for (; dim + kStep <= dims; dim += kStep)
    continue_chains<Stored, kRows, kVectors>(tile, dim);
  if constexpr (kVectors > 1)
    all_dims<Stored, kRows, kVectors / 2>(tile, dim, dims);
}

// One row of floats: there is time to keep its chains in L1, so that memory is
// read in order, which the CPU foresees best.
template <std::size_t kVectors>
KVTAPE_AVX2_INLINE void slot_by_slot(Tile tile, std::int64_t dims) {
  const std::int64_t slots = tile.slots;
  tile.slots = 1;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    all_dims<Plain<Element::kF32>, 1, kVectors>(tile, 0, dims);
    tile.values += tile.slot_bytes;
    ++tile.weights;
  }
}

template <typename Stored, std::size_t kRows>
KVTAPE_AVX2 void some_slots(const Tile& tile, std::int64_t dims) {
  constexpr std::size_t kVectors = kRows == 1 ? 8 : kRows <= 3 ? 4 : 2;
  if constexpr (Stored::kBytes == 4 && kRows == 1) {
    if (dims > std::int64_t{kVectors} * kLanes)
      return slot_by_slot<kVectors>(tile, dims);
  }
  all_dims<Stored, kRows, kVectors>(tile, 0, dims);
}

template <typename Stored>
void some_rows(std::int64_t rows, const Tile& tile, std::int64_t dims) {
  switch (rows) {
    case 1:
      return some_slots<Stored, 1>(tile, dims);
    case 2:
      return some_slots<Stored, 2>(tile, dims);
    case 3:
      return some_slots<Stored, 3>(tile, dims);
    case 4:
      return some_slots<Stored, 4>(tile, dims);
    case 5:
      return some_slots<Stored, 5>(tile, dims);
    default:
      return some_slots<Stored, kMostRows>(tile, dims);
  }
}

KVTAPE_AVX2 void add(const float* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += kLanes)
    _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_loadu_ps(to + i),
                                           _mm256_loadu_ps(from + i)));
}

// Values of a block or of a part of it: `rows` begin with its first slot, dims
// lie side by side and are whole lanes.
struct Block {
  Rows rows;
  const float* scales = nullptr;  // [slot], of codes
  std::int64_t slots = 0;
  std::int64_t dims = 0;

  std::int64_t stride() const { return dims + kLanes; }  // of sums
  std::int64_t slot_bytes() const { return rows.slot_stride * bytes_of(rows); }
};

// Continues the chains of up to kMostRows rows.
void add_chains(const Block& block, const float* weights, std::int64_t rows,
                float* chains) {
  for (std::int64_t slot = 0; slot < block.slots; slot += kSlotsAtOnce) {
    const std::int64_t end = std::min(slot + kSlotsAtOnce, block.slots);
    Prefetcher next(block.rows.ahead.from(slot), end - slot);
    const Tile tile{
        .values = block.rows.data + slot * block.slot_bytes(),
        .slot_bytes = block.slot_bytes(),
        .scales = block.scales == nullptr ? nullptr : block.scales + slot,
        .slots = end - slot,
        .weights = weights + slot,
        .chains = chains,
        .stride = block.stride(),
        .next = &next};
    with_stored(block.rows, [&]<typename Stored>(Stored) {
      some_rows<Stored>(rows, tile, block.dims);
    });
  }
}

// How many of `slots` weights of `rows` rows are +0, that is dead.
KVTAPE_AVX2 std::int64_t count_dead(const float* weights, std::int64_t rows,
                                    std::int64_t slots) {
  std::int64_t dead = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* at = weights + row * kScoreStride;
    std::int64_t slot = 0;
    for (; slot + kLanes <= slots; slot += kLanes) {
      const __m256 zero = _mm256_cmp_ps(_mm256_loadu_ps(at + slot),
                                        _mm256_setzero_ps(), _CMP_EQ_OQ);
      dead +=
          __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(zero)));
    }
    for (; slot < slots; ++slot) dead += at[slot] == 0;
  }
  return dead;
}

template <typename Stored>
KVTAPE_AVX2 bool all_finite(const Block& block) {
  // 0 * x is 0 for every finite x and NaN for all others.
  __m256 sum = _mm256_setzero_ps();
  for (std::int64_t slot = 0; slot < block.slots; ++slot) {
    const std::byte* row = block.rows.data + slot * block.slot_bytes();
    const auto scale = Stored::scale(block.scales, slot);
    for (std::int64_t dim = 0; dim < block.dims; dim += kLanes)
      sum = _mm256_fmadd_ps(Stored::load(row + dim * Stored::kBytes, scale),
                            _mm256_setzero_ps(), sum);
  }
  return _mm256_movemask_ps(_mm256_cmp_ps(sum, sum, _CMP_UNORD_Q)) == 0;
}

bool is_finite(const Block& block) {
  return with_stored(block.rows, [&]<typename Stored>(Stored) {
    return all_finite<Stored>(block);
  });
}

// A block of packed floats.
Block packed_at(const float* data, std::int64_t slots, std::int64_t dims) {
  return {.rows = {.data = reinterpret_cast<const std::byte*>(data),
                   .slot_stride = dims + kLanes},
          .slots = slots,
          .dims = dims};
}

// The block with +0 for the values of slots that are dead to one row.
Block without_dead(const Block& block, const float* weights, float* copy) {
  for (std::int64_t slot = 0; slot < block.slots; ++slot) {
    float* row = copy + slot * block.stride();
    if (weights[slot] == 0)
      std::fill(row, row + block.dims, 0.0F);
    else
      avx2_widen_row(block.rows, slot, 0, block.dims, row);
  }
  return packed_at(copy, block.slots, block.dims);
}

// Tiles of nearly the same height: 8 rows are 4 and 4, not 6 and 2.
std::int64_t next_rows(std::int64_t rows) {
  const std::int64_t tiles = (rows + kMostRows - 1) / kMostRows;
  return (rows + tiles - 1) / tiles;
}

// Rows [first, first + count) of weights and sums.
struct RowTile {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// Adds the chains of a whole packed block to `out`, for kRows rows and
// kVectors * 8 dims; they never leave the registers.
template <std::size_t kRows, std::size_t kVectors>
KVTAPE_AVX2_INLINE void add_whole_chains(const Block& block,
                                         const float* weights, std::int64_t dim,
                                         float* out) {
  __m256 chains[kRows][kVectors];
#pragma GCC unroll 6
  for (std::size_t row = 0; row < kRows; ++row)
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kVectors; ++i)
      chains[row][i] = _mm256_setzero_ps();
  const auto* at = reinterpret_cast<const float*>(block.rows.data) + dim;
  const std::int64_t step = block.rows.slot_stride;
  for (std::int64_t slot = 0; slot < block.slots; ++slot, at += step) {
    __m256 v[kVectors];
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kVectors; ++i)
      v[i] = _mm256_loadu_ps(at + i * kLanes);
#pragma GCC unroll 6
    for (std::size_t row = 0; row < kRows; ++row) {
      const __m256 p = _mm256_broadcast_ss(
          weights + static_cast<std::int64_t>(row) * kScoreStride + slot);
#pragma GCC unroll 2
      for (std::size_t i = 0; i < kVectors; ++i)
        chains[row][i] = _mm256_fmadd_ps(p, v[i], chains[row][i]);
    }
  }
#pragma GCC unroll 6
  for (std::size_t row = 0; row < kRows; ++row)
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kVectors; ++i) {
      float* to = out + static_cast<std::int64_t>(row) * (block.dims + kLanes) +
                  dim + static_cast<std::int64_t>(i * kLanes);
      _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), chains[row][i]));
    }
}

template <std::size_t kVectors>
KVTAPE_AVX2 void add_whole_tile(const Block& block, std::int64_t rows,
                                const float* weights, std::int64_t dim,
                                float* out) {
  switch (rows) {
    case 1:
      return add_whole_chains<1, kVectors>(block, weights, dim, out);
    case 2:
      return add_whole_chains<2, kVectors>(block, weights, dim, out);
    case 3:
      return add_whole_chains<3, kVectors>(block, weights, dim, out);
    case 4:
      return add_whole_chains<4, kVectors>(block, weights, dim, out);
    case 5:
      return add_whole_chains<5, kVectors>(block, weights, dim, out);
    default:
      return add_whole_chains<kMostRows, kVectors>(block, weights, dim, out);
  }
}

// A few dims of all slots stay in L1 while the rows go by.
void add_packed(const Block& block, std::span<const RowTile> tiles,
                const float* weights, float* out) {
  constexpr std::int64_t kStep = 2 * kLanes;
  const std::int64_t stride = block.dims + kLanes;
  for (std::int64_t dim = 0; dim < block.dims; dim += kStep)
    for (const RowTile& tile : tiles) {
      const float* p = weights + tile.first * kScoreStride;
      float* to = out + tile.first * stride;
      if (dim + kStep <= block.dims)
        add_whole_tile<2>(block, tile.count, p, dim, to);
      else
        add_whole_tile<1>(block, tile.count, p, dim, to);
    }
}

// Continues the chains; of a whole packed block the sums stay in registers and
// go to `out`. A dead slot's weight of +0 leaves every sum as it is unless the
// value is not finite: such blocks go row by row over a cleaned copy.
// copy: [kBlock, stride].
void add_block(const Block& block, bool whole_packed, const float* weights,
               std::int64_t rows, const Sums& sums, float* copy) {
  const std::int64_t stride = block.stride();
  std::array<RowTile, 16> tiles;
  std::size_t waiting = 0;
  bool checked = false;
  bool finite = true;
  for (std::int64_t row = 0, count = 0; row < rows; row += count) {
    count = next_rows(rows - row);
    const float* p = weights + row * kScoreStride;
    const std::int64_t dead = count_dead(p, count, block.slots);
    if (dead == count * block.slots) continue;
    if (dead != 0 && !checked) {
      finite = is_finite(block);
      checked = true;
    }
    if (dead != 0 && !finite) {
      count = 1;
      const Block cleaned = without_dead(block, p, copy);
      if (whole_packed)
        add_packed(cleaned, std::array{RowTile{0, 1}}, p,
                   sums.out + row * stride);
      else
        add_chains(cleaned, p, 1, sums.chains + row * stride);
    } else if (!whole_packed) {
      add_chains(block, p, count, sums.chains + row * stride);
    } else {
      if (waiting == tiles.size()) {
        add_packed(block, tiles, weights, sums.out);
        waiting = 0;
      }
      tiles[waiting++] = {.first = row, .count = count};
    }
  }
  add_packed(block, std::span(tiles).first(waiting), weights, sums.out);
}

Block packed_block(const Rows& value, Slots slots, std::int64_t dim,
                   float* out) {
  avx2_pack(value, slots.begin, slots.end, dim, out);
  return packed_at(out, slots.end - slots.begin, packed_stride(dim) - kLanes);
}

// scales: [slot], of codes.
Block block_in_place(const Rows& value, Slots slots, std::int64_t dim,
                     const float* scales) {
  Block block{.rows = value,
              .scales = scales,
              .slots = slots.end - slots.begin,
              .dims = dim};
  block.rows.data += slots.begin * block.slot_bytes();
  if (value.scales != nullptr)
    block.rows.scales +=
        slots.begin * value.scale_stride * bytes_of(value.element);
  return block;
}

}  // namespace

void avx2_values(const Rows& value, Slots slots, std::int64_t last,
                 std::int64_t dim, const float* weights, std::int64_t rows,
                 const Sums& sums, float* scratch) {
  const std::int64_t stride = packed_stride(dim);
  float* copy = scratch + kBlock * stride;
  float scales[kBlock];
  for (Slots part = slots; part.begin < slots.end; part.begin = part.end) {
    part.end = std::min((part.begin / kBlock + 1) * kBlock, slots.end);
    const bool in_place =
        rows < kFewRows && avx2_in_place(value, part, dim, scales);
    const bool begins = part.begin % kBlock == 0;
    const bool ends = part.end % kBlock == 0 || part.end == last;
    const bool whole_packed = !in_place && begins && ends;
    Block block = in_place ? block_in_place(value, part, dim, scales)
                           : packed_block(value, part, dim, scratch);
    if (in_place) block.rows.ahead = value.ahead.from(part.begin - slots.begin);
    if (begins && !whole_packed)
      std::fill(sums.chains, sums.chains + rows * stride, 0.0F);
    add_block(block, whole_packed, weights + part.begin, rows, sums, copy);
    if (ends && !whole_packed) add(sums.chains, rows * stride, sums.out);
  }
}

}  // namespace kvtape::kernels
