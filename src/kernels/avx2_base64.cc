// Base64 with 32 characters in a register.
// Source: Mula and Lemire, Faster Base64 Encoding and Decoding Using AVX2
// Instructions, 2018.
#include "kernels/avx2.h"
#include "kernels/base64.h"

namespace kvtape::kernels {
namespace {

constexpr std::size_t kQuads = 8;  // of a register

KVTAPE_AVX2_INLINE __m256i load32(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

KVTAPE_AVX2_INLINE __m256i both_halves(__m128i half) {
  return _mm256_broadcastsi128_si256(half);
}

// Sixes of bits, one in each byte, from twelve bytes of each half.
KVTAPE_AVX2_INLINE __m256i split_to_sixes(__m256i bytes) {
  const __m256i twice = _mm256_shuffle_epi8(
      bytes, both_halves(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10,
                                       9, 11, 10)));
  const __m256i first_third =
      _mm256_mulhi_epu16(_mm256_and_si256(twice, _mm256_set1_epi32(0x0fc0fc00)),
                         _mm256_set1_epi32(0x04000040));
  const __m256i second_fourth =
      _mm256_mullo_epi16(_mm256_and_si256(twice, _mm256_set1_epi32(0x003f03f0)),
                         _mm256_set1_epi32(0x01000010));
  return _mm256_or_si256(first_third, second_fourth);
}

// What lies between a six and its character, by the run of the alphabet that
// it falls in: 13 is A to Z, 0 is a to z, 1 to 10 are digits, 11 +, 12 /.
KVTAPE_AVX2_INLINE __m256i characters_of(__m256i sixes) {
  const __m256i above_51 = _mm256_subs_epu8(sixes, _mm256_set1_epi8(51));
  const __m256i is_upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), sixes);
  const __m256i run = _mm256_or_si256(
      above_51, _mm256_and_si256(is_upper, _mm256_set1_epi8(13)));
  const __m256i distance =
      _mm256_shuffle_epi8(both_halves(_mm_setr_epi8(
                              'a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                              '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                              '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0)),
                          run);
  return _mm256_add_epi8(sixes, distance);
}

// Each bit of a table entry is a class of characters: one that has a bit in
// common by its upper and by its lower half is none of the alphabet.
KVTAPE_AVX2_INLINE __m256i invalid_of(__m256i text, __m256i upper) {
  const __m256i lower_classes =
      _mm256_shuffle_epi8(both_halves(_mm_setr_epi8(
                              0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                              0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a)),
                          _mm256_and_si256(text, _mm256_set1_epi8(0x0f)));
  const __m256i upper_classes =
      _mm256_shuffle_epi8(both_halves(_mm_setr_epi8(
                              0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
                              0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10)),
                          upper);
  return _mm256_and_si256(lower_classes, upper_classes);
}

KVTAPE_AVX2_INLINE __m256i sixes_of(__m256i text, __m256i upper) {
  const __m256i is_slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('/'));
  const __m256i distance = _mm256_shuffle_epi8(
      both_halves(_mm_setr_epi8(0, 63 - '/', 62 - '+', 52 - '0', -'A', -'A',
                                26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0)),
      _mm256_add_epi8(is_slash, upper));
  return _mm256_add_epi8(text, distance);
}

// 24 bytes, and 8 that mean nothing.
KVTAPE_AVX2_INLINE __m256i join_sixes(__m256i sixes) {
  const __m256i twelves =
      _mm256_maddubs_epi16(sixes, _mm256_set1_epi32(0x01400140));
  const __m256i threes =
      _mm256_madd_epi16(twelves, _mm256_set1_epi32(0x00011000));
  const __m256i packed = _mm256_shuffle_epi8(
      threes, both_halves(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12,
                                        -1, -1, -1, -1)));
  return _mm256_permutevar8x32_epi32(packed,
                                     _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
}

}  // namespace

// A register takes 28 bytes for the 24 that it spells.
KVTAPE_AVX2 void avx2_encode_base64(const std::byte* bytes, std::size_t quads,
                                    char* out) {
  for (; quads >= kQuads + 2; quads -= kQuads, bytes += 24, out += 32) {
    const __m256i halves = _mm256_inserti128_si256(
        _mm256_castsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 12)), 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        characters_of(split_to_sixes(halves)));
  }
  scalar_encode_base64(bytes, quads, out);
}

// A register gives 32 bytes for the 24 that stand in it.
KVTAPE_AVX2 bool avx2_decode_base64(const char* text, std::size_t quads,
                                    std::byte* out) {
  __m256i invalid = _mm256_setzero_si256();
  for (; quads >= kQuads + 3; quads -= kQuads, text += 32, out += 24) {
    const __m256i characters = load32(text);
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi32(characters, 4),
                                           _mm256_set1_epi8(0x0f));
    invalid = _mm256_or_si256(invalid, invalid_of(characters, upper));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        join_sixes(sixes_of(characters, upper)));
  }
  const bool rest = scalar_decode_base64(text, quads, out);
  return rest && _mm256_testz_si256(invalid, invalid) != 0;
}

}  // namespace kvtape::kernels
