// The tools that every text is made of.
#include "report/text.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "report/numbers.h"
#include "report/sparkline.h"
#include "report/utf8.h"
#include "samples.h"

namespace kvtape {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A character in UTF-8, written independently of the reader.
std::string encoded(char32_t value) {
  const auto byte = [](char32_t bits) { return static_cast<char>(bits); };
  if (value < 0x80) return {byte(value)};
  if (value < 0x800)
    return {byte(0xC0 | value >> 6), byte(0x80 | (value & 63))};
  if (value < 0x10000) {
    return {byte(0xE0 | value >> 12), byte(0x80 | (value >> 6 & 63)),
            byte(0x80 | (value & 63))};
  }
  return {byte(0xF0 | value >> 18), byte(0x80 | (value >> 12 & 63)),
          byte(0x80 | (value >> 6 & 63)), byte(0x80 | (value & 63))};
}

bool is_plain(const std::string& text) {
  for (const char each : text) {
    if (each < 0x20 || each > 0x7E) return false;
  }
  return true;
}

TEST_CASE("printable shows every single byte safely") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    const bool graphic = byte >= 0x20 && byte <= 0x7E;
    char expected[8];
    std::snprintf(expected, sizeof expected, "\\x%02x", byte);
    CHECK(printable(text) == (graphic ? text : expected));
  }
}

TEST_CASE("printable lets no pair of bytes through that is not UTF-8") {
  for (int first = 0x80; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text{static_cast<char>(first),
                             static_cast<char>(second)};
      const bool lead = first >= 0xC2 && first <= 0xDF;
      const bool valid = lead && second >= 0x80 && second <= 0xBF;
      const bool hidden = (first == 0xC2 && second < 0xA0) ||  // C1
                          text == "\xd8\x9c";  // a mark of direction
      const std::string shown = printable(text);
      if (valid && !hidden) {
        REQUIRE(shown == text);
      } else {
        REQUIRE(is_plain(shown));
      }
    }
  }
}

TEST_CASE("printable passes or escapes every character") {
  int hidden = 0;
  for (char32_t value = 0xA0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    const std::string text = encoded(value);
    const std::string shown = printable(text);
    if (shown == text) continue;
    ++hidden;
    REQUIRE(is_plain(shown));
    REQUIRE(shown[0] == '\\');
    REQUIRE(std::stoul(shown.substr(2), nullptr, 16) == value);
  }
  // Marks of direction 12, separators 2, byte order mark 1, tags 128,
  // noncharacters 32 + 34.
  CHECK(hidden == 12 + 2 + 1 + 128 + 32 + 34);
}

TEST_CASE("printable names what it hides") {
  CHECK(printable("\x1b[31m") == "\\x1b[31m");
  CHECK(printable("\xc2\x85") == "\\u0085");
  CHECK(printable("\xe2\x80\xae") == "\\u202e");
  CHECK(printable("\xf3\xa0\x80\x81") == "\\U000e0001");
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");           // overlong
  CHECK(printable("\xe0\x80\xaf") == "\\xe0\\x80\\xaf");  // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  CHECK(printable("\xe2\x82") == "\\xe2\\x82");  // cut
  CHECK(printable(std::string("a\0b", 3)) == "a\\x00b");
  CHECK(printable("héllo ≈ 日本") == "héllo ≈ 日本");
}

TEST_CASE("printable cuts what is long") {
  CHECK(printable(std::string(200, 'a')) == std::string(200, 'a'));
  CHECK(printable(std::string(201, 'a')) == std::string(197, 'a') + "...");
  CHECK(printable("abcdef", 5) == "ab...");
  CHECK(printable("日本語", 5) == "日...");
  CHECK(printable("\x01\x01", 7) == "\\x01...");
  std::string marks = "a";
  for (int mark = 0; mark < 10000; ++mark) marks += "\xcc\x81";
  CHECK(printable(marks).size() < 900);
}

TEST_CASE("printable is safe and bounded for any bytes") {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 300, ' ');
    for (char& each : text) each = static_cast<char>(random());
    const std::string shown = printable(text);
    REQUIRE(display_width(shown) <= 200);
    REQUIRE(printable(shown, 1000) == shown);
  }
}

TEST_CASE("display_width counts columns") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("日本") == 4);
  CHECK(display_width("e\xcc\x81") == 1);
  CHECK(display_width("\x1b[31mred\x1b[0m") == 3);
  CHECK(display_width("▁█✗") == 3);
}

TEST_CASE("tables align by columns, coloured or not") {
  const TextStyle color{.color = true};
  const Table table{.columns = {{"name"}, {"size", Align::kRight}, {"note"}},
                    .rows = {{"日本", "5", "x"},
                             {colored(color, Color::kRed, "ab"), "12345"}}};
  CHECK(table_text(table) ==
        "  name   size  note\n"
        "  日本      5  x\n"
        "  \x1b[31mab\x1b[0m    12345\n");
  CHECK(table_text({.columns = {{}}, .rows = {{"a"}}}) == "  a\n");
}

TEST_CASE("colour is written only where asked for") {
  CHECK(colored({}, Color::kRed, "a") == "a");
  CHECK(colored({.color = true}, Color::kBold, "a") == "\x1b[1ma\x1b[0m");
  CHECK(colored({.color = true}, Color::kBold, "").empty());
}

TEST_CASE("counts") {
  CHECK(counted(0, "error") == "no errors");
  CHECK(counted(1, "error") == "1 error");
  CHECK(counted(2000, "value") == "2,000 values");
  CHECK(ranges_text({}).empty());
  CHECK(ranges_text({0, 1, 2, 4, 6, 7}) == "0-2, 4, 6-7");
}

TEST_CASE("numbers for people") {
  CHECK(count_text(0) == "0");
  CHECK(count_text(999) == "999");
  CHECK(count_text(6291456) == "6,291,456");
  CHECK(count_text(-1234) == "-1,234");
  CHECK(count_text(std::numeric_limits<std::int64_t>::min()) ==
        "-9,223,372,036,854,775,808");
  CHECK(bytes_text(0) == "0 bytes");
  CHECK(bytes_text(999) == "999 bytes");
  CHECK(bytes_text(1000) == "1.00 kB");
  CHECK(bytes_text(9994) == "9.99 kB");
  CHECK(bytes_text(9996) == "10.0 kB");
  CHECK(bytes_text(99960) == "100 kB");
  CHECK(bytes_text(999499) == "999 kB");
  CHECK(bytes_text(999500) == "1.00 MB");
  CHECK(bytes_text(12600000) == "12.6 MB");
  CHECK(bytes_text(std::numeric_limits<std::int64_t>::max()) == "9.22 EB");
  CHECK(percent_text(0, 10) == "0%");
  CHECK(percent_text(10, 10) == "100%");
  CHECK(percent_text(1, 32768) == "0.0031%");
  CHECK(percent_text(1, 10'000'000) == "<0.001%");
  CHECK(percent_text(9999, 10000) == ">99.9%");
}

TEST_CASE("errors and values for people") {
  CHECK(error_text(0, 3) == "0");
  CHECK(error_text(6.8e-3, 3) == "6.80e-03");
  CHECK(error_text(6.8e-3, 2) == "6.8e-03");
  CHECK(error_text(kNaN, 3) == "NaN");
  CHECK(error_text(kInfinity, 3) == "Infinity");
  CHECK(setting_text(0.125) == "0.125");
  CHECK(setting_text(-kInfinity) == "-Infinity");
  using Pair = std::pair<std::string, std::string>;
  CHECK(value_pair(0.412109375, 0.4189, 3) == Pair("0.412109", "0.4189"));
  CHECK(value_pair(1, 1 + 1e-9, 3) == Pair("1", "1.000000001"));
  CHECK(value_pair(0.412109375, 0.4189, 9) == Pair("0.412109375", "0.4189"));
  CHECK(value_pair(2, 2, 3) == Pair("2", "2"));
  CHECK(value_pair(kNaN, 1, 3) == Pair("NaN", "1"));
  CHECK(value_pair(kNaN, kNaN, 3) == Pair("NaN", "NaN"));
}

TEST_CASE("the shortest text reads back to the same bits") {
  CHECK(shortest_text(0.1) == "0.1");
  CHECK(shortest_text(1) == "1.0");
  CHECK(shortest_text(-0.0) == "-0.0");
  CHECK(shortest_text(1e100) == "1e+100");
  CHECK(shortest_text(5e-324) == "5e-324");
  std::mt19937_64 random(2);
  for (int round = 0; round < 20000; ++round) {
    const std::uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    REQUIRE(std::strtod(shortest_text(value).c_str(), nullptr) == value);
  }
}

TEST_CASE("log10_of agrees with libm") {
  for (int power = -300; power <= 300; ++power) {
    const double value = std::pow(10.0, power);
    CHECK(std::abs(log10_of(value) - power) < 1e-13 * (1 + std::abs(power)));
  }
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> decades(-300, 300);
  for (int round = 0; round < 20000; ++round) {
    const double value = std::pow(10.0, decades(random));
    REQUIRE(log10_of(value) == Approx(std::log10(value)).epsilon(1e-14));
  }
}

TEST_CASE("sparklines") {
  const TextStyle blocks{.unicode = true};
  CHECK(sparkline({1e-6, 1e-5, 1e-4, 1e-2}, 40, blocks) == "1e-06 ▁▃▅█ 1e-02");
  CHECK(sparkline({1e-6, 1e-5, 1e-4, 1e-2}, 40, {}) == "1e-06 .-+@ 1e-02");
  CHECK(sparkline({1e-6, 1.1e-6}, 40, blocks) == "1e-06 ▁▁ 1e-04");
  CHECK(sparkline({0, 1e-6, kNaN, kInfinity}, 40, {}) == "1e-06  .XX 1e-04");
  CHECK(sparkline({0, 0}, 40, blocks).empty());
  CHECK(sparkline({kNaN}, 40, blocks).empty());
  CHECK(sparkline({}, 40, blocks).empty());
  CHECK(sparkline({1e-6, 1e-2, 1e-6, 1e-6}, 2, {}) == "1e-06 @. 1e-02");
}

TEST_CASE("groups keep the largest, NaN above all") {
  const auto groups = largest_of_groups({1, 3, 2, kNaN, 9, 0}, 3);
  REQUIRE(groups.size() == 3);
  CHECK(groups[0] == 3);
  CHECK(std::isnan(groups[1]));
  CHECK(groups[2] == 9);
  CHECK(largest_of_groups({5}, 3) == std::vector<double>{5});
  CHECK(largest_of_groups({}, 3).empty());
}

}  // namespace
}  // namespace kvtape
