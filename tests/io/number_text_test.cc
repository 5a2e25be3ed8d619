// Numbers of tensors as JSON text and back: exhaustive where it can be.
#include "io/number_text.h"

#include <bit>
#include <catch2/catch.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "io/number_scan.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::string text_of(DType dtype, std::span<const std::byte> elements) {
  std::string text;
  append_numbers(dtype, elements, text);
  return text;
}

std::vector<std::byte> scanned(DType dtype, const std::string& text,
                               std::size_t count) {
  std::vector<std::byte> out(
      count * static_cast<std::size_t>(bytes_per_element(dtype)));
  NumberScan scan(dtype, out);
  const std::string all = text + "]";
  const std::size_t used = scan.feed(all, true);
  CHECK(used == all.size());
  CHECK(scan.done());
  return out;
}

template <typename T>
std::vector<std::byte> read_back(DType dtype, const std::vector<T>& values) {
  return scanned(dtype, text_of(dtype, bytes_of(values)), values.size());
}

std::string refusal(DType dtype, const std::string& text,
                    std::size_t count = 1) {
  try {
    scanned(dtype, text, count);
  } catch (const Error& error) {
    return error.parts().field + ": " + error.parts().expected + " <- " +
           error.parts().found;
  }
  return "read";
}

// KVTAPE_LONG=1: ten million patterns instead of a hundred thousand.
std::size_t patterns() {
  return std::getenv("KVTAPE_LONG") != nullptr ? 10'000'000 : 100'000;
}

TEST_CASE("all values of the 16-bit formats") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::uint16_t> values(65536);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<std::uint16_t>(i);
    const std::string text = text_of(dtype, bytes_of(values));
    const auto back = scanned(dtype, text, values.size());
    std::size_t payloads = 0;
    std::size_t longest = 0;
    std::size_t start = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, back.data() + 2 * i, 2);
      const bool payload =
          next_nan_payload(dtype, bytes_of<std::uint16_t>({values[i]}), 0) == 0;
      payloads += payload;
      if (bits != values[i] && !payload) FAIL("pattern " << i);
      const std::size_t comma = std::min(text.find(',', start), text.size());
      longest = std::max(longest, comma - start);
      // One value alone takes the way without a table.
      const std::uint16_t one[] = {values[i]};
      if (text_of(dtype, std::as_bytes(std::span(one))) !=
          text.substr(start, comma - start))
        FAIL("text of pattern " << i);
      start = comma + 1;
    }
    CHECK(longest == std::string("\"-Infinity\"").size());
    CHECK(payloads == (dtype == DType::kF16 ? 2 * 1023 - 1 : 2 * 127 - 1));
  }
}

// No shorter text gives the same value: tried with all of up to that length
// would be slow, so with the digits that are one fewer.
TEST_CASE("halves have as few digits as can be") {
  CHECK(text_of(DType::kF16,
                bytes_of<std::uint16_t>({0x3c00, 0x2e66, 0x7bff, 0x0001, 0x8000,
                                         0x0400, 0x3555})) ==
        "1,0.1,65500,6e-08,-0.0,6.104e-05,0.3333");
  CHECK(text_of(DType::kBF16, bytes_of<std::uint16_t>(
                                  {0x3f80, 0x3dcd, 0x7f7f, 0x0001, 0x4049})) ==
        "1,0.1,3.39e+38,9e-41,3.14");
}

TEST_CASE("random f32 patterns") {
  std::mt19937 random(1);
  std::vector<std::uint32_t> values(patterns());
  for (auto& value : values) value = static_cast<std::uint32_t>(random());
  const auto back = read_back(DType::kF32, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, back.data() + 4 * i, 4);
    if (bits != values[i] && !std::isnan(std::bit_cast<float>(values[i])))
      FAIL(std::hex << values[i]);
  }
}

TEST_CASE("random f64 patterns") {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> values(patterns());
  for (auto& value : values) value = random();
  const auto back = read_back(DType::kF64, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, back.data() + 8 * i, 8);
    if (bits != values[i] && !std::isnan(std::bit_cast<double>(values[i])))
      FAIL(std::hex << values[i]);
  }
}

TEST_CASE("integers and bools") {
  CHECK(text_of(DType::kI8, bytes_of<std::int8_t>({-128, 0, 127})) ==
        "-128,0,127");
  CHECK(text_of(DType::kU64, bytes_of<std::uint64_t>({0, UINT64_MAX})) ==
        "0,18446744073709551615");
  CHECK(text_of(DType::kI64, bytes_of<std::int64_t>({INT64_MIN})) ==
        "-9223372036854775808");
  CHECK(text_of(DType::kBool, bytes_of<std::uint8_t>({0, 1})) == "false,true");
  CHECK(read_back<std::int64_t>(DType::kI64, {INT64_MIN, INT64_MAX, -1}) ==
        bytes_of<std::int64_t>({INT64_MIN, INT64_MAX, -1}));
  CHECK(read_back<std::uint64_t>(DType::kU64, {UINT64_MAX}) ==
        bytes_of<std::uint64_t>({UINT64_MAX}));
  CHECK(read_back<std::uint8_t>(DType::kBool, {1, 0}) ==
        bytes_of<std::uint8_t>({1, 0}));
  CHECK(text_of(DType::kF32, {}).empty());
  CHECK(scanned(DType::kF32, " ", 0).empty());
}

TEST_CASE("what does not fit is refused by name") {
  CHECK(refusal(DType::kI8, "128") == "data[0]: an integer of i8 <- 128");
  CHECK(refusal(DType::kU8, "-1") == "data[0]: an integer of u8 <- -1");
  CHECK(refusal(DType::kU64, "18446744073709551616") ==
        "data[0]: an integer of u64 <- 18446744073709551616");
  CHECK(refusal(DType::kI32, "1.0") == "data[0]: an integer of i32 <- 1.0");
  CHECK(refusal(DType::kF32, "1e39") ==
        "data[0]: a value of f32 <- 1e39, which is too large for it");
  CHECK(refusal(DType::kF64, "1e400") ==
        "data[0]: a value of f64 <- 1e400, which is too large for it");
  CHECK(refusal(DType::kF64, "1e-400") ==
        "data[0]: a value of f64 <- 1e-400, which would become 0");
  CHECK(refusal(DType::kF32, "1e-60") ==
        "data[0]: a value of f32 <- 1e-60, which would become 0");
  CHECK(refusal(DType::kF16, "65520") ==
        "data[0]: a value of f16 <- 65520, which is too large for it");
  CHECK(refusal(DType::kF16, "1e-8") ==
        "data[0]: a value of f16 <- 1e-8, which would become 0");
  CHECK(refusal(DType::kF32, "0.1000000001") ==
        "data[0]: a value of f32 <- 0.1000000001, whose digits are more than "
        "it holds");
  CHECK(refusal(DType::kF32, "0.10000000149011612") == "read");
  CHECK(refusal(DType::kF32, "0") == "read");
  CHECK(refusal(DType::kF64, "0e-999") == "read");
}

TEST_CASE("only JSON's numbers are read") {
  for (const char* text :
       {"+1",  ".5",  "1.",       "01",    "1e",   "1e+",  "0x10",
        "NaN", "inf", "Infinity", "nan",   "1 2",  "--1",  "-",
        "1,",  ",1",  "\"Nan\"",  "\"1\"", "null", "true", "[1]"}) {
    CAPTURE(text);
    CHECK(refusal(DType::kF32, text) != "read");
  }
  CHECK(refusal(DType::kF32, "1,2") ==
        "data: 1 values, as the shape says <- more");
  CHECK(refusal(DType::kF32, "1", 2) ==
        "data: 2 values, as the shape says <- 1");
  CHECK(refusal(DType::kI8, "\"NaN\"") == "data[0]: a JSON number <- \"NaN\"");
}

TEST_CASE("text in pieces of any size") {
  const std::vector<float> values{1.5F, -0.0F, 1e-30F, INFINITY, 12345678.0F};
  const std::string text = text_of(DType::kF32, bytes_of(values)) + " ]tail";
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    std::vector<std::byte> out(values.size() * 4);
    NumberScan scan(DType::kF32, out);
    std::string waiting;
    std::size_t at = 0;
    while (!scan.done()) {
      waiting += text.substr(at, piece);
      at = std::min(at + piece, text.size());
      waiting.erase(0, scan.feed(waiting, at == text.size()));
    }
    CHECK(out == bytes_of(values));
    CHECK(waiting + text.substr(at) == "tail");
  }
}

TEST_CASE("payloads of NaN") {
  float value = 0;
  auto* element = reinterpret_cast<std::byte*>(&value);
  CHECK(set_nan_payload(DType::kF32, "ffc00001", element));
  CHECK(std::bit_cast<std::uint32_t>(value) == 0xffc00001);
  CHECK(next_nan_payload(DType::kF32, {element, 4}, 0) == 0);
  for (const char* text : {"7f800000", "3f800000", "7fc0000", "7fc000000",
                           "7fc0000g", "", "-7fc0001"})
    CHECK_FALSE(set_nan_payload(DType::kF32, text, element));
  value = std::numeric_limits<float>::quiet_NaN();
  CHECK(next_nan_payload(DType::kF32, {element, 4}, 0) == 1);
}

}  // namespace
}  // namespace kvtape
