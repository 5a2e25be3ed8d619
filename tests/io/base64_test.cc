#include "io/base64.h"

#include <catch2/catch.hpp>
#include <optional>
#include <random>

namespace kvtape {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string encoded(std::string_view text) {
  std::string out;
  append_base64(bytes(text), out);
  return out;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out(text.size() / 4 * 3, '\0');
  const auto size = decode_base64(text, std::as_writable_bytes(std::span(out)));
  if (size < 0) return {};
  out.resize(static_cast<std::size_t>(size));
  return out;
}

TEST_CASE("the examples of RFC 4648") {
  const std::pair<const char*, const char*> examples[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : examples) {
    CHECK(encoded(plain) == text);
    CHECK(decoded(text) == plain);
    CHECK(base64_size(std::ssize(std::string_view(plain))) ==
          std::ssize(std::string_view(text)));
  }
}

TEST_CASE("random bytes of every length") {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string plain(size, '\0');
    for (char& c : plain) c = static_cast<char>(random());
    CHECK(decoded(encoded(plain)) == plain);
    // In pieces of whole triples.
    std::string pieces;
    for (std::size_t at = 0; at < size; at += 6)
      append_base64(
          bytes(plain).subspan(at, std::min<std::size_t>(6, size - at)),
          pieces);
    CHECK(pieces == encoded(plain));
  }
}

TEST_CASE("anything else is refused") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====",
                           "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-v", "Zm_v",
                           "Zm\xff"
                           "v",
                           "=m9v", "Z=9v"}) {
    CAPTURE(text);
    CHECK_FALSE(decoded(text));
  }
  // Every byte that is not of the alphabet, in every place.
  for (int value = 0; value < 256; ++value)
    for (std::size_t place = 0; place < 4; ++place) {
      std::string text = "AAAAAAAA";
      text[place] = static_cast<char>(value);
      const bool good =
          std::isalnum(value) != 0 || value == '+' || value == '/';
      CHECK(decoded(text).has_value() == good);
    }
}

}  // namespace
}  // namespace kvtape
