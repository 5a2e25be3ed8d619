// Bytes as base64 text.
#include "io/base64.h"

#include <array>
#include <cstring>

namespace kvtape {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint32_t kInvalid = 1U << 31;

// Two characters for each 12 bits.
constexpr std::array<std::array<char, 2>, 4096> kPairs = [] {
  std::array<std::array<char, 2>, 4096> result{};
  for (std::size_t bits = 0; bits < result.size(); ++bits)
    result[bits] = {kAlphabet[bits >> 6], kAlphabet[bits & 63]};
  return result;
}();

// What each character stands for, shifted to its place in the quad.
constexpr std::array<std::array<std::uint32_t, 256>, 4> kValues = [] {
  std::array<std::array<std::uint32_t, 256>, 4> result{};
  for (std::size_t place = 0; place < 4; ++place) {
    result[place].fill(kInvalid);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
      result[place][static_cast<unsigned char>(kAlphabet[i])] =
          static_cast<std::uint32_t>(i << (18 - 6 * place));
  }
  return result;
}();

std::uint32_t byte_at(std::span<const std::byte> bytes, std::size_t i) {
  return i < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i]) : 0;
}

// The last one or two bytes.
void append_rest(std::span<const std::byte> bytes, std::string& out) {
  const std::uint32_t bits = byte_at(bytes, 0) << 16 | byte_at(bytes, 1) << 8;
  out += kAlphabet[bits >> 18];
  out += kAlphabet[bits >> 12 & 63];
  out += bytes.size() == 2 ? kAlphabet[bits >> 6 & 63] : '=';
  out += '=';
}

std::uint32_t quad_bits(const char* text) {
  return kValues[0][static_cast<unsigned char>(text[0])] |
         kValues[1][static_cast<unsigned char>(text[1])] |
         kValues[2][static_cast<unsigned char>(text[2])] |
         kValues[3][static_cast<unsigned char>(text[3])];
}

void put_bytes(std::uint32_t bits, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i)
    to[i] = static_cast<std::byte>(bits >> (16 - 8 * i));
}

// The last quad, padded or not.
std::int64_t decode_last(std::string_view quad, std::byte* to) {
  const std::size_t padding = quad[3] != '=' ? 0 : quad[2] != '=' ? 1 : 2;
  std::array<char, 4> filled{'A', 'A', 'A', 'A'};
  std::memcpy(filled.data(), quad.data(), 4 - padding);
  const std::uint32_t bits = quad_bits(filled.data());
  const std::uint32_t left_over = (1U << 8 * padding) - 1;
  if ((bits & (kInvalid | left_over)) != 0) return -1;
  put_bytes(bits, 3 - padding, to);
  return static_cast<std::int64_t>(3 - padding);
}

}  // namespace

void append_base64(std::span<const std::byte> bytes, std::string& out) {
  const std::size_t whole = bytes.size() / 3;
  const std::size_t start = out.size();
  out.resize(start + whole * 4);
  char* to = out.data() + start;
  const std::byte* at = bytes.data();
  for (std::size_t i = 0; i < whole; ++i, at += 3, to += 4) {
    const std::uint32_t bits = std::to_integer<std::uint32_t>(at[0]) << 16 |
                               std::to_integer<std::uint32_t>(at[1]) << 8 |
                               std::to_integer<std::uint32_t>(at[2]);
    std::memcpy(to, kPairs[bits >> 12].data(), 2);
    std::memcpy(to + 2, kPairs[bits & 4095].data(), 2);
  }
  if (bytes.size() % 3 != 0) append_rest(bytes.subspan(whole * 3), out);
}

std::int64_t decode_base64(std::string_view text, std::span<std::byte> out) {
  if (text.size() % 4 != 0 || out.size() < text.size() / 4 * 3) return -1;
  if (text.empty()) return 0;
  const std::size_t last = text.size() / 4 - 1;
  std::byte* to = out.data();
  std::uint32_t seen = 0;
  for (std::size_t quad = 0; quad < last; ++quad, to += 3) {
    const std::uint32_t bits = quad_bits(text.data() + 4 * quad);
    seen |= bits;
    put_bytes(bits, 3, to);
  }
  if ((seen & kInvalid) != 0) return -1;
  const std::int64_t rest = decode_last(text.substr(4 * last), to);
  return rest < 0 ? -1 : static_cast<std::int64_t>(3 * last) + rest;
}

}  // namespace kvtape
