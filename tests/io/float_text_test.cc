// The shortest decimals of f32 against those of the standard library.
#include "io/float_text.h"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace {

using namespace kvtape;

std::string text_of(float value) {
  std::array<char, kFloatTextRoom> text{};
  return {text.data(), put_float_text(text.data(), value)};
}

std::string expected(float value) {
  std::array<char, kFloatTextRoom> text{};
  return {text.data(), std::to_chars(text.begin(), text.end(), value).ptr};
}

bool is_spelled(std::uint32_t bits) {
  const auto value = std::bit_cast<float>(bits);
  return value != 0 && std::isfinite(value);
}

void check(std::uint32_t bits) {
  const auto value = std::bit_cast<float>(bits);
  if (is_spelled(bits) && text_of(value) != expected(value))
    FAIL(std::hex << bits << ": " << text_of(value) << ", not "
                  << expected(value));
}

}  // namespace

TEST_CASE("f32 that are spelled in each way") {
  for (const auto& [value, text] : {std::pair<float, const char*>{0.1F, "0.1"},
                                    {-1.5F, "-1.5"},
                                    {1e-3F, "0.001"},
                                    {1e-4F, "1e-04"},
                                    {0.00012F, "0.00012"},
                                    {1.2e-5F, "1.2e-05"},
                                    {12345.678F, "12345.678"},
                                    {100000.F, "1e+05"},
                                    {120000.F, "120000"},
                                    {16777215.F, "16777215"},
                                    {16777216.F, "16777216"},
                                    {33554432.F, "33554432"},
                                    {1e10F, "1e+10"},
                                    {3.4028235e38F, "3.4028235e+38"},
                                    {1e-45F, "1e-45"},
                                    {1.1754944e-38F, "1.1754944e-38"}}) {
    CHECK(text_of(value) == text);
    CHECK(expected(value) == text);
  }
}

TEST_CASE("f32 around every power of two and of ten") {
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent)
    for (std::uint32_t near = 0; near < 64; ++near)
      check((exponent << 23) + near - 32);
  for (int power = -45; power <= 38; ++power) {
    const auto bits =
        std::bit_cast<std::uint32_t>(static_cast<float>(std::pow(10.0, power)));
    for (std::uint32_t near = 0; near < 64; ++near) check(bits + near - 32);
  }
}

// KVTAPE_LONG=1: all of them.
TEST_CASE("f32 of any bits are spelled as the standard library does") {
  if (std::getenv("KVTAPE_LONG") != nullptr) {
    for (std::uint32_t bits = 0; bits >> 31 == 0; ++bits) check(bits);
    return;
  }
  std::mt19937 random(7);
  for (int i = 0; i < 1'000'000; ++i)
    check(static_cast<std::uint32_t>(random()));
}
