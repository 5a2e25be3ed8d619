// The short way to read decimals against from_chars.
#include "io/short_decimal.h"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <charconv>
#include <cstring>
#include <random>
#include <string>

#include "kernels/elements.h"

namespace {

using namespace kvtape;

std::string padded(const std::string& text) {
  return text + "," + std::string(static_cast<std::size_t>(kShortRoom), '0');
}

template <typename T>
T exact(const std::string& text) {
  T value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Whether it was read; what was read is right.
bool check(const std::string& text, DType dtype) {
  const std::string there = padded(text);
  std::array<std::byte, 8> found{};
  const auto [stop, count] = read_short_decimals(there, dtype, found.data(), 1);
  INFO(text << " as " << name(dtype));
  REQUIRE(stop == there.data() + (count == 0 ? 0 : text.size() + 1));
  if (count == 0) return false;
  std::array<std::byte, 8> expected{};
  switch (dtype) {
    case DType::kF64:
      kernels::store(expected.data(), exact<double>(text));
      break;
    case DType::kF32:
      kernels::store(expected.data(), exact<float>(text));
      break;
    case DType::kF16:
      kernels::store(expected.data(), kernels::to_f16(exact<double>(text)));
      break;
    default:
      kernels::store(expected.data(), kernels::to_bf16(exact<double>(text)));
  }
  REQUIRE(std::memcmp(found.data(), expected.data(),
                      static_cast<std::size_t>(bytes_per_element(dtype))) == 0);
  return true;
}

std::string digits(std::mt19937_64& random, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += static_cast<char>('0' + random() % 10);
  return text;
}

std::string random_decimal(std::mt19937_64& random) {
  std::string text = random() % 2 == 0 ? "-" : "";
  if (random() % 3 == 0)
    text += '0';
  else
    text.append(std::to_string(1 + random() % 9))
        .append(digits(random, random() % 9));
  if (random() % 4 != 0)
    text.append(1, '.').append(digits(random, 1 + random() % 12));
  if (random() % 3 == 0)
    text.append(1, random() % 2 == 0 ? 'e' : 'E')
        .append(1, random() % 2 == 0 ? '-' : '+')
        .append(std::to_string(random() % 50));
  return text;
}

}  // namespace

TEST_CASE("short decimals are read as from_chars reads them") {
  std::mt19937_64 random(5);
  std::array<int, 4> read{};
  constexpr int kCount = 300000;
  constexpr std::array kFloats{DType::kF64, DType::kF32, DType::kF16,
                               DType::kBF16};
  for (int i = 0; i < kCount; ++i) {
    const std::string text = random_decimal(random);
    for (std::size_t dtype = 0; dtype < kFloats.size(); ++dtype)
      read[dtype] += check(text, kFloats[dtype]);
  }
  CHECK(read[0] > kCount / 2);
  CHECK(read[1] > kCount / 4);
  CHECK(read[2] > kCount / 50);
}

TEST_CASE("shortest texts of f32 are read the short way, nearly all") {
  std::mt19937_64 random(9);
  int read = 0;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    // Numbers of usual sizes.
    const auto bits = static_cast<std::uint32_t>(random());
    const float value =
        std::bit_cast<float>((bits & 0x83ffffffU) | 0x3c000000U);
    std::array<char, 32> text{};
    const auto end =
        std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    read += check(std::string(text.data(), end), DType::kF32);
  }
  CHECK(read > kCount * 99 / 100);
}

TEST_CASE("middles between neighbours and the ends of a format are refused") {
  for (const char* text :
       {"16777217", "33554434.0e0", "1e39", "3.5e38", "1.1754942e-38", "1e-46"})
    CHECK((std::string(text) == "33554434.0e0" || !check(text, DType::kF32)));
  CHECK(check("16777216", DType::kF32));
  CHECK(check("-0", DType::kF32));
  CHECK(check("-0.0", DType::kF16));
  CHECK(!check("65520", DType::kF16));
  CHECK(!check("1e-9", DType::kF16));
  CHECK(!check("123456", DType::kF16));
}

TEST_CASE("what is no JSON number is left to others") {
  for (const char* text :
       {"01", "-", ".5", "1.", "1.e5", "1e", "1e+", "+1", "1x", "0x10", "1..2",
        "1234567890123456789", "0.1234567890123456789", "1e100", "\"NaN\"",
        "--1", "1e5.0", "00", "-01.5"})
    CHECK(!check(text, DType::kF64));
}

TEST_CASE("several decimals with commas and blanks") {
  const std::string list = padded("1,-2.5, 3e2,\n\t0.001 ,4]");
  std::array<double, 5> found{};
  auto* const bytes = reinterpret_cast<std::byte*>(found.data());
  const auto read = [&](std::string_view text, std::int64_t most) {
    return read_short_decimals(text, DType::kF64, bytes, most);
  };
  // A blank before a comma is left to others, as is what no comma ends.
  CHECK(read(list, 5).count == 3);
  CHECK(*read(list, 5).end == '0');
  CHECK(found == std::array{1.0, -2.5, 300.0, 0.0, 0.0});
  CHECK(read(list, 2).count == 2);
  CHECK(read(list.substr(0, 63), 5).count == 0);
  CHECK(read(list.substr(0, 65), 5).count == 1);
}
