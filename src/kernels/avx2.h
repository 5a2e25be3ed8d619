// What the AVX2 files share. Every function says what it needs of the CPU; no
// file is compiled for AVX2.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/elements.h"
#include "kernels/kernels.h"

#define KVTAPE_AVX2 __attribute__((target("avx2,fma,f16c")))
#define KVTAPE_AVX2_INLINE \
  __attribute__((target("avx2,fma,f16c"), always_inline)) inline

namespace kvtape::kernels {

/// Eight neighbouring elements, widened.
template <Element kElement>
KVTAPE_AVX2_INLINE __m256 load8(const std::byte* at) {
  if constexpr (kElement == Element::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(at));
  } else if constexpr (kElement == Element::kF64) {
    const auto* doubles = reinterpret_cast<const double*>(at);
    return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(doubles + 4)),
                           _mm256_cvtpd_ps(_mm256_loadu_pd(doubles)));
  } else {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    if constexpr (kElement == Element::kF16) return _mm256_cvtph_ps(bits);
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
}

/// Asks for memory that will be wanted soon, line after line: it is read
/// fastest in order, whatever order the work on what is there already takes.
class Prefetcher {
 public:
  Prefetcher() = default;
  Prefetcher(const Ahead& ahead, std::int64_t slots)
      : at_(reinterpret_cast<const char*>(ahead.data)),
        bytes_(slots * ahead.bytes_per_slot) {}

  /// To be called for every eight elements that are loaded, number `i` of a
  /// row: asks for as many bytes.
  template <Element kElement>
  KVTAPE_AVX2_INLINE void next(std::int64_t i) {
    if (i % (kLine / bytes_of(kElement)) == 0) line();
  }

  KVTAPE_AVX2_INLINE void line() {
    if (bytes_ <= 0) return;
    _mm_prefetch(at_, _MM_HINT_T1);
    at_ += kLine;
    bytes_ -= kLine;
  }

 private:
  static constexpr std::int64_t kLine = 64;

  const char* at_ = nullptr;
  std::int64_t bytes_ = 0;
};

/// Where keys and values are read: where they lie, in the order in which memory
/// is read fastest, or in a packed copy that is near already.
enum class Where : bool { kInPlace, kPacked };

/// Whether rows can be read as they lie; others are packed first.
bool avx2_in_place(const Rows& rows, std::int64_t dim);

/// Rows [begin, end) as packed floats, +0 beyond dim up to whole lanes.
void avx2_pack(const Rows& rows, std::int64_t begin, std::int64_t end,
               std::int64_t dim, float* out);

void avx2_widen(const std::byte* data, Element element, std::int64_t stride,
                std::int64_t count, float* out);
void avx2_narrow_f32(const float* data, std::int64_t count, Element element,
                     std::byte* out);
Scan avx2_scan(const std::byte* data, Element element, std::int64_t count);

// Attention's steps, as in Kernels.
void avx2_scores(const Rows& key, Slots slots, std::int64_t dim,
                 const float* query, std::int64_t rows, float* scores,
                 float* scratch);
void avx2_values(const Rows& value, Slots slots, std::int64_t last,
                 std::int64_t dim, const float* weights, std::int64_t rows,
                 const Sums& sums, float* scratch);

}  // namespace kvtape::kernels
