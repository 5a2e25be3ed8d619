// What the AVX2 files share. Every function says what it needs of the CPU; no
// file is compiled for AVX2.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/elements.h"
#include "kernels/kernels.h"
#include "kernels/scalar_convert.h"

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

/// How numbers are stored: as elements, or as int8 codes of scaled rows. Both
/// load eight neighbouring ones, given what there is of their row's scale.
template <Element kOf>
struct Plain {
  static constexpr Element kElement = kOf;
  static constexpr std::int64_t kBytes = bytes_of(kOf);
  struct Scale {};
  KVTAPE_AVX2_INLINE static Scale scale(const float* /*scales*/,
                                        std::int64_t /*row*/) {
    return {};
  }
  KVTAPE_AVX2_INLINE static __m256 load(const std::byte* at, Scale /*scale*/) {
    return load8<kOf>(at);
  }
};

template <Element kOf>
struct Codes {
  static constexpr Element kElement = kOf;
  static constexpr std::int64_t kBytes = 1;
  /// A sum of x and x * kFactor keeps as many bits of x as kElement does. It
  /// is exact but for x, and the last bit of x * kFactor is even, so that ties
  /// go where they belong. Small numbers need no rounding.
  static constexpr float kFactor = kOf == Element::kBF16 ? 0x1p16F : 0x1p13F;
  /// Scales above 0 and below this have products that fit kElement and a float
  /// times kFactor, and none is -0.
  static constexpr float kScaleLimit =
      kOf == Element::kBF16 ? 0x1p100F : 0x1p8F;

  struct Scale {
    __m256 small;
    __m256 large;  // kFactor times as large
  };
  KVTAPE_AVX2_INLINE static Scale scale(const float* scales, std::int64_t row) {
    const __m256 small = _mm256_broadcast_ss(scales + row);
    return {small, _mm256_mul_ps(small, _mm256_set1_ps(kFactor))};
  }
  KVTAPE_AVX2_INLINE static __m256 load(const std::byte* at,
                                        const Scale& scale) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
    if constexpr (kOf == Element::kF32) return _mm256_mul_ps(x, scale.small);
    const __m256 large = _mm256_mul_ps(x, scale.large);
    return _mm256_sub_ps(_mm256_fmadd_ps(x, scale.small, large), large);
  }
};

/// Calls use() with the Plain or Codes that the rows are. Requires no f64.
template <typename Use>
auto with_stored(const Rows& rows, const Use& use) {
  const bool codes = rows.scales != nullptr;
  switch (rows.element) {
    case Element::kF16:
      return codes ? use(Codes<Element::kF16>()) : use(Plain<Element::kF16>());
    case Element::kBF16:
      return codes ? use(Codes<Element::kBF16>())
                   : use(Plain<Element::kBF16>());
    default:
      return codes ? use(Codes<Element::kF32>()) : use(Plain<Element::kF32>());
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

  /// To be called for every eight numbers that are loaded, number `i` of a
  /// row: asks for as many bytes.
  template <typename Stored>
  KVTAPE_AVX2_INLINE void next(std::int64_t i) {
    if (i % (kLine / Stored::kBytes) == 0) line();
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

/// Whether some slots can be read as they lie; others are packed first.
/// scales: room for those of codes.
bool avx2_in_place(const Rows& rows, Slots slots, std::int64_t dim,
                   float* scales);

/// Rows [begin, end) as packed floats, +0 beyond dim up to whole lanes.
void avx2_pack(const Rows& rows, std::int64_t begin, std::int64_t end,
               std::int64_t dim, float* out);

void avx2_widen(const std::byte* data, Element element, std::int64_t stride,
                std::int64_t count, float* out);
void avx2_widen_codes(const std::int8_t* codes, float scale, Element element,
                      std::int64_t count, float* out);
/// Dims [first, first + count) of a slot, as floats.
void avx2_widen_row(const Rows& rows, std::int64_t slot, std::int64_t first,
                    std::int64_t count, float* out);
void avx2_narrow_f32(const float* data, std::int64_t count, Element element,
                     std::byte* out);
Scan avx2_scan(const std::byte* data, Element element, std::int64_t count);

void avx2_encode_base64(const std::byte* bytes, std::size_t quads, char* out);
bool avx2_decode_base64(const char* text, std::size_t quads, std::byte* out);

// Attention's steps, as in Kernels.
void avx2_scores(const Rows& key, Slots slots, std::int64_t dim,
                 const float* query, std::int64_t rows, float* scores,
                 float* scratch);
void avx2_values(const Rows& value, Slots slots, std::int64_t last,
                 std::int64_t dim, const float* weights, std::int64_t rows,
                 const Sums& sums, float* scratch);

}  // namespace kvtape::kernels
