// Bytes as base64 text.
#include "io/base64.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/base64.h"
#include "kernels/kernels.h"

namespace kvtape {
namespace {

using kernels::kBase64Alphabet;

std::uint32_t byte_at(std::span<const std::byte> bytes, std::size_t i) {
  return i < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i]) : 0;
}

// The last one or two bytes.
void append_rest(std::span<const std::byte> bytes, std::string& out) {
  const std::uint32_t bits = byte_at(bytes, 0) << 16 | byte_at(bytes, 1) << 8;
  out += kBase64Alphabet[bits >> 18];
  out += kBase64Alphabet[bits >> 12 & 63];
  out += bytes.size() == 2 ? kBase64Alphabet[bits >> 6 & 63] : '=';
  out += '=';
}

// The last quad, padded or not.
std::int64_t decode_last(std::string_view quad, std::byte* to) {
  const std::size_t padding = quad[3] != '=' ? 0 : quad[2] != '=' ? 1 : 2;
  std::array<char, 4> filled{'A', 'A', 'A', 'A'};
  std::memcpy(filled.data(), quad.data(), 4 - padding);
  std::array<std::byte, 3> bytes{};
  if (!kernels::scalar_decode_base64(filled.data(), 1, bytes.data())) return -1;
  const std::size_t count = 3 - padding;
  for (std::size_t i = count; i < bytes.size(); ++i)
    if (bytes[i] != std::byte{0}) return -1;
  std::memcpy(to, bytes.data(), count);
  return static_cast<std::int64_t>(count);
}

}  // namespace

void append_base64(std::span<const std::byte> bytes, std::string& out) {
  // A text grows by parts, which is less than filling it with zeros first.
  constexpr std::size_t kQuads = 2048;
  std::array<char, 4 * kQuads> text;
  while (bytes.size() >= 3) {
    const std::size_t quads = std::min(kQuads, bytes.size() / 3);
    kernels::active().encode_base64(bytes.data(), quads, text.data());
    out.append(text.data(), 4 * quads);
    bytes = bytes.subspan(3 * quads);
  }
  if (!bytes.empty()) append_rest(bytes, out);
}

std::int64_t decode_base64(std::string_view text, std::span<std::byte> out) {
  if (text.size() % 4 != 0 || out.size() < text.size() / 4 * 3) return -1;
  if (text.empty()) return 0;
  const std::size_t last = text.size() / 4 - 1;
  if (!kernels::active().decode_base64(text.data(), last, out.data()))
    return -1;
  const std::int64_t rest =
      decode_last(text.substr(4 * last), out.data() + 3 * last);
  return rest < 0 ? -1 : static_cast<std::int64_t>(3 * last) + rest;
}

}  // namespace kvtape
