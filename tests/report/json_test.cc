// The writer of JSON: valid for any content, and the same numbers back.
#include "report/json.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("json_text writes numbers that read back") {
  CHECK(json_text(Json(0.1)) == "0.1\n");
  CHECK(json_text(json_number(1)) == "1.0\n");
  CHECK(json_text(json_number(-0.0)) == "-0.0\n");
  CHECK(json_text(json_number(std::numeric_limits<double>::quiet_NaN())) ==
        "\"NaN\"\n");
  CHECK(json_text(json_number(-std::numeric_limits<double>::infinity())) ==
        "\"-Infinity\"\n");
  CHECK(json_text(Json(std::numeric_limits<std::uint64_t>::max())) ==
        "18446744073709551615\n");
}

TEST_CASE("json_text breaks lines around lists and objects that hold others") {
  const Json value = {{"a", {1, 2}}, {"b", {{"c", nullptr}, {"d", true}}}};
  CHECK(json_text(value) ==
        "{\n  \"a\": [1, 2],\n  \"b\": {\"c\": null, \"d\": true}\n}\n");
  CHECK(json_text({{"e", Json::array()}}) == "{\n  \"e\": []\n}\n");
  CHECK(json_text(Json::object()) == "{}\n");
}

TEST_CASE("json_text escapes what is hidden and replaces what is no text") {
  CHECK(json_text(Json(samples::hostile_name())) ==
        "\"a\\u001b[2J\\u202e\\ufffd\\\"<&\\n\"\n");
  CHECK(json_text(Json("\xf3\xa0\x80\x81 \\ é")) ==
        "\"\\udb40\\udc01 \\\\ é\"\n");
}

TEST_CASE("json_text is JSON for any bytes, and valid text unchanged") {
  std::mt19937 random(4);
  for (int round = 0; round < 3000; ++round) {
    std::string text(random() % 40, ' ');
    for (char& each : text) each = static_cast<char>(random() % 256);
    const Json read = Json::parse(json_text({{text, text}}));
    REQUIRE(read.is_object());
    REQUIRE(read.size() == 1);
  }
  for (int byte = 0; byte < 128; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    REQUIRE(Json::parse(json_text(Json(text))) == text);
  }
}

}  // namespace
}  // namespace kvtape
