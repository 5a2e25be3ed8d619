#include "machine.h"

#include <immintrin.h>

#include <array>
#include <chrono>

#include "kernels/avx2.h"

namespace kvtape::bench {
namespace {

using kernels::Rows;
using kernels::Slots;
using kernels::SoftmaxSum;

// Whole lines of `count` bytes; the sum keeps the loads.
KVTAPE_AVX2 __m256i read_run(const std::byte* at, std::int64_t count,
                             kernels::Prefetcher& next, __m256i sum) {
  for (std::int64_t byte = 0; byte + 64 <= count; byte += 64) {
    const auto* line = reinterpret_cast<const __m256i*>(at + byte);
    next.line();
    sum = _mm256_add_epi64(sum, _mm256_loadu_si256(line));
    sum = _mm256_add_epi64(sum, _mm256_loadu_si256(line + 1));
  }
  return sum;
}

KVTAPE_AVX2 void read_rows(const Rows& rows, Slots slots, std::int64_t dim,
                           kernels::Prefetcher next) {
  const std::int64_t bytes = kernels::bytes_of(rows);
  const std::int64_t stride = rows.slot_stride * bytes;
  const std::byte* at = rows.data + slots.begin * stride;
  __m256i sum = _mm256_setzero_si256();
  if (rows.slot_stride == dim) {
    sum = read_run(at, (slots.end - slots.begin) * stride, next, sum);
  } else {
    for (std::int64_t slot = slots.begin; slot < slots.end; ++slot)
      sum =
          read_run(at + (slot - slots.begin) * stride, dim * bytes, next, sum);
  }
  asm volatile("" : : "x"(sum));
}

template <bool kAsksAhead>
kernels::Prefetcher prefetcher(const Rows& rows, Slots slots) {
  if (!kAsksAhead) return {};
  return {rows.ahead, slots.end - slots.begin};
}

template <bool kAsksAhead>
void read_keys(const Rows& key, Slots slots, std::int64_t dim, const float*,
               std::int64_t, float*, float*) {
  read_rows(key, slots, dim, prefetcher<kAsksAhead>(key, slots));
}

template <bool kAsksAhead>
void read_values(const Rows& value, Slots slots, std::int64_t, std::int64_t dim,
                 const float*, std::int64_t, const kernels::Sums&, float*) {
  read_rows(value, slots, dim, prefetcher<kAsksAhead>(value, slots));
}

SoftmaxSum no_softmax(float*, Slots, const kernels::Visible&, float) {
  return {};
}

// Twelve chains hide the latency of each.
KVTAPE_AVX2 void multiply(std::int64_t times) {
  constexpr int kChains = 12;
  const __m256 factor = _mm256_set1_ps(0.999F);
  __m256 chains[kChains];
#pragma GCC unroll 12
  for (auto& chain : chains) chain = factor;
  for (std::int64_t i = 0; i < times; ++i) {
#pragma GCC unroll 12
    for (auto& chain : chains) {
      chain = _mm256_fmadd_ps(chain, factor, factor);
      asm volatile("" : "+x"(chain));
    }
  }
}

template <bool kAsksAhead>
kernels::Kernels reading() {
  kernels::Kernels table = kernels::active();
  table.name = "reading";
  table.scores = read_keys<kAsksAhead>;
  table.softmax = no_softmax;
  table.values = read_values<kAsksAhead>;
  return table;
}

}  // namespace

const std::array<kernels::Kernels, 2>& reading_kernels() {
  static const std::array both{reading<false>(), reading<true>()};
  return both;
}

double fma_flops(ThreadPool& pool) {
  constexpr std::int64_t kTimes = 4'000'000;
  constexpr double kFlopsPerTime = 12 * 8 * 2;
  const auto start = std::chrono::steady_clock::now();
  pool.run(pool.size(), [](std::int64_t, int) { multiply(kTimes); });
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  return kFlopsPerTime * static_cast<double>(kTimes) * pool.size() /
         time.count();
}

}  // namespace kvtape::bench
