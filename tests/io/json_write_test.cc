// Documents and tables: what is written reads back, and is the same text for
// any number of threads.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"
#include "kvtape/json.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string>& sound_files() {
  static const std::vector<std::string> names{
      "contiguous", "old_layout",   "big_endian",     "big_endian_chunked",
      "bf16",       "chunked",      "chunked_new",    "gzip",
      "compact",    "gzip_shuffle", "incompressible", "axes",
      "quantized",  "everything",   "empty_positions"};
  return names;
}

std::string text_of(const Tape& tape, const JsonOptions& options) {
  std::string text;
  write_json(tape, options, [&](std::string_view part) { text += part; });
  return text;
}

Tape tape_of_text(const std::string& text) {
  const fs::path path = fs::temp_directory_path() /
                        ("kvtape_json_write." + std::to_string(getpid()));
  std::ofstream(path) << text;
  Tape tape = read_tape(path);
  fs::remove(path);
  return tape;
}

Tensor floats(const std::vector<std::uint32_t>& bits) {
  std::vector<std::byte> bytes(bits.size() * sizeof(std::uint32_t));
  std::memcpy(bytes.data(), bits.data(), bytes.size());
  return make_tensor(DType::kF32, {{.size = std::ssize(bits)}},
                     std::move(bytes));
}

Tape with_extra(Extra extra) {
  Tape tape;
  tape.extras.push_back(std::move(extra));
  return tape;
}

std::string refusal(const Tape& tape, const JsonOptions& options = {}) {
  try {
    text_of(tape, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("documents with all values read back the same, bit for bit") {
  for (const std::string& name : sound_files()) {
    INFO(name);
    const Tape tape = read_tape(made(name));
    for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64}) {
      for (const int indent : {0, 2, 5}) {
        const std::string text =
            text_of(tape, {.encoding = encoding, .indent = indent});
        CHECK(differences(tape, tape_of_text(text)) ==
              std::vector<std::string>());
      }
    }
  }
}

TEST_CASE("stacked layers stand each by itself") {
  const Tape tape = read_tape(made("stack"));
  const std::string text = text_of(tape, {});
  CHECK(text.find("\"stack\"") == text.npos);
  const Tape again = tape_of_text(text);
  REQUIRE(again.cache.layers.size() == tape.cache.layers.size());
  for (const auto& [number, layer] : tape.cache.layers) {
    const LayerCache& other = again.cache.layers.at(number);
    CHECK(bytes_of(*layer.key) == bytes_of(*other.key));
    CHECK(bytes_of(*layer.value) == bytes_of(*other.value));
  }
  CHECK(text_of(again, {}) == text);
}

TEST_CASE("the text is the same for any number of threads") {
  const Tape tape = read_tape(made("everything"));
  for (const JsonForm form :
       {JsonForm::kDocument, JsonForm::kLines, JsonForm::kTable})
    for (const Encoding encoding : {Encoding::kSummary, Encoding::kNumbers})
      CHECK(text_of(tape, {.encoding = encoding, .form = form, .threads = 1}) ==
            text_of(tape, {.encoding = encoding, .form = form, .threads = 3}));
}

TEST_CASE("pieces of a large tensor meet without a seam") {
  std::vector<std::uint32_t> bits(1'000'003);
  for (std::size_t i = 0; i < bits.size(); ++i)
    bits[i] = static_cast<std::uint32_t>(i * 2654435761U) & 0xbfffffffU;
  const Tape tape = with_extra({.path = "/x", .tensor = floats(bits)});
  for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64})
    for (const int threads : {1, 2}) {
      const Tape again = tape_of_text(
          text_of(tape, {.encoding = encoding, .threads = threads}));
      CHECK(bytes_of(*again.extras.at(0).tensor) ==
            bytes_of(*tape.extras[0].tensor));
    }
}

TEST_CASE("NaN keeps its bits, up to a number of them") {
  const Tape tape = with_extra(
      {.path = "/x", .tensor = floats({0x7fc00000, 0xffc00001, 0x3f800000})});
  CHECK(
      text_of(tape, {.indent = 0})
          .find(
              R"("nan_payloads": [[1, "ffc00001"]], "data": ["NaN","NaN",1])") !=
      std::string::npos);
  const Tape many = with_extra(
      {.path = "/x",
       .tensor = floats(std::vector<std::uint32_t>(65537, 0xffc00001))});
  CHECK(refusal(many).find("/x: nan_payloads: expected at most 65536") == 0);
  CHECK(refusal(many, {.encoding = Encoding::kBase64}).empty());
}

TEST_CASE("a summary") {
  const Tape tape = with_extra(
      {.path = "/x",
       .tensor = floats({0x3f800000, 0x80000000, 0x40400000, 0x7f800000})});
  CHECK(text_of(tape, {.encoding = Encoding::kSummary, .indent = 0})
            .find(R"("encoding": "summary", "count": 4, "min": 0, "max": 3, )"
                  R"("mean": 1.3333333333333333, "std": 1.247219128924647, )"
                  R"("zeros": 1, "nan": 0, "inf": 1, "digest": "xxh3:)") !=
        std::string::npos);
}

TEST_CASE("what JSON would tell apart no more is refused by name") {
  CHECK(refusal(with_extra({.path = "/g", .attributes = {{"dtype", true}}}))
            .find("/g: dtype: ") == 0);
  CHECK(refusal(with_extra({.path = "/dtype"})).find("/: dtype: ") == 0);
  CHECK(refusal(with_extra({.path = "/g",
                            .attributes = {{"a", std::string("-Infinity")}}}))
            .find("/g: a: a text that would") == 0);
  Tape twice = with_extra({.path = "/g", .attributes = {{"a", true}}});
  twice.extras.push_back({.path = "/g/a"});
  CHECK(refusal(twice).find("/g: a: ") == 0);
  CHECK(refusal(twice, {.form = JsonForm::kLines}).empty());
}

TEST_CASE("a table counts along named axes") {
  std::vector<std::byte> bytes(8);
  bytes[3] = std::byte{7};
  Tape tape = with_extra({.path = "/odd, \"name\"",
                          .tensor = make_tensor(DType::kU8,
                                                {{AxisKind::kBatch, "a", 2},
                                                 {AxisKind::kHead, "head", 2},
                                                 {AxisKind::kBatch, "b", 2}},
                                                std::move(bytes))});
  const std::string text = text_of(tape, {.form = JsonForm::kTable});
  CHECK(text.find("path,batch,position,head,dim,value\n") == 0);
  CHECK(text.find("\"/odd, \"\"name\"\"\",1,,1,,7\n") != text.npos);
  CHECK(text.find("\"/odd, \"\"name\"\"\",2,,0,,0\n") != text.npos);
  CHECK(refusal(tape, {.encoding = Encoding::kBase64,
                       .form = JsonForm::kTable}) == "a table has no base64");
}

}  // namespace
}  // namespace kvtape::test
