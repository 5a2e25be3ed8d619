// Base64 of the kernels in use against the definition, of every length that
// fills registers or not, and every byte in every place.
#include "kernels/base64.h"

#include <catch2/catch.hpp>
#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace kvtape::kernels {
namespace {

constexpr std::size_t kMostQuads = 90;

std::string encoded(const std::vector<std::byte>& bytes) {
  std::string text(bytes.size() / 3 * 4, '\0');
  active().encode_base64(bytes.data(), bytes.size() / 3, text.data());
  return text;
}

// Nothing is written behind what was asked for.
std::vector<std::byte> decoded(const std::string& text) {
  constexpr std::byte kMark{0xa5};
  std::vector<std::byte> bytes(text.size() / 4 * 3 + 1, kMark);
  REQUIRE(active().decode_base64(text.data(), text.size() / 4, bytes.data()));
  REQUIRE(bytes.back() == kMark);
  bytes.pop_back();
  return bytes;
}

}  // namespace

TEST_CASE("base64 of any length is what the definition gives") {
  std::mt19937 random(3);
  for (std::size_t quads = 0; quads <= kMostQuads; ++quads) {
    std::vector<std::byte> bytes(3 * quads);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    std::string expected(4 * quads, '\0');
    scalar_encode_base64(bytes.data(), quads, expected.data());
    CHECK(encoded(bytes) == expected);
    CHECK(decoded(expected) == bytes);
  }
}

TEST_CASE("every character of base64 in every place") {
  std::string text;
  for (std::size_t place = 0; place < 4 * kBase64Alphabet.size(); ++place)
    text += kBase64Alphabet[(place + place / 64) % 64];
  std::vector<std::byte> expected(text.size() / 4 * 3);
  REQUIRE(scalar_decode_base64(text.data(), text.size() / 4, expected.data()));
  CHECK(decoded(text) == expected);
  CHECK(encoded(expected) == text);
}

TEST_CASE("what is not of the alphabet is noticed wherever it stands") {
  constexpr std::size_t kQuads = 25;
  std::vector<std::byte> bytes(3 * kQuads);
  for (std::size_t place = 0; place < 4 * kQuads; ++place)
    for (int value = 0; value < 256; ++value) {
      std::string text(4 * kQuads, 'Q');
      text[place] = static_cast<char>(value);
      const bool good =
          kBase64Alphabet.find(text[place]) != kBase64Alphabet.npos;
      if (active().decode_base64(text.data(), kQuads, bytes.data()) != good)
        FAIL("byte " << value << " at " << place);
    }
}

}  // namespace kvtape::kernels
