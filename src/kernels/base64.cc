#include "kernels/base64.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace kvtape::kernels {
namespace {

constexpr std::uint32_t kInvalid = 1U << 31;

// Two characters for each 12 bits.
constexpr std::array<std::array<char, 2>, 4096> kPairs = [] {
  std::array<std::array<char, 2>, 4096> result{};
  for (std::size_t bits = 0; bits < result.size(); ++bits)
    result[bits] = {kBase64Alphabet[bits >> 6], kBase64Alphabet[bits & 63]};
  return result;
}();

// What each character stands for, shifted to its place in the quad.
constexpr std::array<std::array<std::uint32_t, 256>, 4> kValues = [] {
  std::array<std::array<std::uint32_t, 256>, 4> result{};
  for (std::size_t place = 0; place < 4; ++place) {
    result[place].fill(kInvalid);
    for (std::size_t i = 0; i < kBase64Alphabet.size(); ++i)
      result[place][static_cast<unsigned char>(kBase64Alphabet[i])] =
          static_cast<std::uint32_t>(i << (18 - 6 * place));
  }
  return result;
}();

}  // namespace

void scalar_encode_base64(const std::byte* bytes, std::size_t quads,
                          char* out) {
  for (std::size_t quad = 0; quad < quads; ++quad, bytes += 3, out += 4) {
    const std::uint32_t bits = std::to_integer<std::uint32_t>(bytes[0]) << 16 |
                               std::to_integer<std::uint32_t>(bytes[1]) << 8 |
                               std::to_integer<std::uint32_t>(bytes[2]);
    std::memcpy(out, kPairs[bits >> 12].data(), 2);
    std::memcpy(out + 2, kPairs[bits & 4095].data(), 2);
  }
}

bool scalar_decode_base64(const char* text, std::size_t quads, std::byte* out) {
  std::uint32_t seen = 0;
  for (std::size_t quad = 0; quad < quads; ++quad, text += 4, out += 3) {
    std::uint32_t bits = 0;
    for (std::size_t place = 0; place < 4; ++place)
      bits |= kValues[place][static_cast<unsigned char>(text[place])];
    seen |= bits;
    for (std::size_t i = 0; i < 3; ++i)
      out[i] = static_cast<std::byte>(bits >> (16 - 8 * i));
  }
  return (seen & kInvalid) == 0;
}

}  // namespace kvtape::kernels
