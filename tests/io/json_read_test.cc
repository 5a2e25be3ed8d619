// Documents of JSON: what they give, and what is refused in what words.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "io/json_objects.h"
#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

struct Document {
  fs::path path = fs::temp_directory_path() /
                  ("kvtape_json." + std::to_string(getpid()) + ".json");
  explicit Document(const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  ~Document() { fs::remove(path); }
};

std::string document(const std::string& members) {
  return R"({"schema": "kvtape.dump/1", "format_version": 1, )" + members + "}";
}

Tape read(const std::string& text) { return read_tape(Document(text).path); }

// The message without the file's name in front.
std::string refusal(const std::string& text) {
  const Document file(text);
  try {
    read_tape(file.path);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.starts_with(file.path.string() + ": "));
    return message.substr(file.path.string().size() + 2);
  }
  return "nothing was thrown";
}

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  const auto bytes = bytes_of(tensor);
  std::vector<T> result(bytes.size() / sizeof(T));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

const Extra& extra(const Tape& tape, const std::string& path) {
  for (const Extra& each : tape.extras)
    if (each.path == path) return each;
  FAIL("no " + path);
  return tape.extras.front();
}

std::string tensor(const std::string& dtype, const std::string& shape,
                   const std::string& data) {
  return R"({"dtype": ")" + dtype + R"(", "shape": )" + shape +
         R"(, "encoding": "numbers", "data": )" + data + "}";
}

TEST_CASE("a document becomes the cache that it tells of") {
  const Tape tape = read(document(R"(
    "source": "easydel", "model": "a \u00e9 \ud83d\ude00 model",
    "metadata": {"batch_size": 1, "sequence_length": 2, "num_hidden_layers": 11,
      "pad_token_id": null, "num_heads": 1, "head_dim": 2,
      "update_causal_mask": false},
    "attention": {"softmax_scale": 0.5, "masked_rows": "zeros"},
    "rotary": {"theta": 10000, "inv_freq": {"dtype": "f64", "shape": [1],
      "axes": [], "encoding": "numbers", "data": [0.1]}},
    "layers": {
      "10": {"layer_index": 10, "window": 4},
      "2": {"key": {"dtype": "f32", "shape": [2, 1, 2],
          "axes": ["position", "batch", "dim"],
          "axis_names": ["seq", "rows", "projection"],
          "encoding": "numbers", "data": [ 1.5,-0.0, "NaN" ,
            "-Infinity"]},
        "index": {"dtype": "i32", "shape": [1], "axes": ["batch"],
          "encoding": "base64", "data": "AgAAAA=="}}},
    "attention_mask": {"dtype": "bool", "shape": [1, 2],
      "encoding": "numbers", "data": [true, false]},
    "tokens": {"dtype": "u64", "shape": [1, 2], "encoding": "numbers",
      "data": [18446744073709551615, 9007199254740993]},
    "notes": {"count": 18446744073709551615, "none": null, "list": [1, -2],
      "float": 1.0, "nan": "NaN", "text": "x", "empty": [], "yes": true})"));
  CHECK(tape.source == "easydel");
  CHECK(tape.model == "a \u00e9 \U0001f600 model");
  CHECK(tape.cache.metadata.num_hidden_layers == 11);
  CHECK_FALSE(tape.cache.metadata.pad_token_id);
  CHECK_FALSE(tape.cache.metadata.update_causal_mask);
  CHECK(tape.cache.attention.masked_rows == MaskedRows::kZeros);
  CHECK(tape.cache.rotary.theta == 10000.0);
  CHECK(tape.cache.rotary.inv_freq == std::vector{0.1});
  REQUIRE(tape.cache.layers.size() == 2);
  CHECK(tape.cache.layers.at(10).window == 4);
  const Tensor& key = *tape.cache.layers.at(2).key;
  CHECK(key.axes == std::vector<Axis>{{AxisKind::kPosition, "seq", 2},
                                      {AxisKind::kBatch, "rows", 1},
                                      {AxisKind::kDim, "projection", 2}});
  const auto values = elements<float>(key);
  CHECK(values[0] == 1.5F);
  CHECK((values[1] == 0 && std::signbit(values[1])));
  CHECK(std::isnan(values[2]));
  CHECK(values[3] == -std::numeric_limits<float>::infinity());
  CHECK(integers(*tape.cache.layers.at(2).index) ==
        std::vector<std::int64_t>{2});
  CHECK(integers(*tape.cache.attention_mask) ==
        std::vector<std::int64_t>{1, 0});
  CHECK(elements<std::uint64_t>(*tape.cache.tokens) ==
        std::vector<std::uint64_t>{18446744073709551615U, 9007199254740993U});
  const Extra& notes = extra(tape, "/notes");
  REQUIRE(notes.attributes.size() == 8);  // in the order of their names
  CHECK(notes.attributes[0].second == AttributeValue(18446744073709551615U));
  CHECK(notes.attributes[1].second ==
        AttributeValue(std::vector<std::int64_t>()));
  CHECK(notes.attributes[2].second == AttributeValue(1.0));
  CHECK(std::isnan(std::get<double>(notes.attributes[4].second)));
  CHECK(notes.attributes[5].second == AttributeValue(NoValue()));
  CHECK(notes.attributes[7].second == AttributeValue(true));
}

TEST_CASE("NaN payloads stand where they are said to stand") {
  const Tape tape = read(document(
      R"("x": {"dtype": "f32", "shape": [4], "encoding": "numbers",
               "nan_payloads": [[1, "ffc00001"], [3, "7f800001"]],
               "data": ["NaN", "NaN", 1.0, "NaN"]})"));
  CHECK(elements<std::uint32_t>(*extra(tape, "/x").tensor) ==
        std::vector<std::uint32_t>{0x7fc00000, 0xffc00001, 0x3f800000,
                                   0x7f800001});
}

TEST_CASE("a quantized tensor is an object with parts") {
  const std::string shape = R"("shape": [1, 2, 1, 2])";
  const std::string start = R"("layers": {"0": {"key": {"dtype": "bf16", )" +
                            shape + R"(, "axes": ["batch", "position", "head",
      "dim"], "quantization": {"scheme": "8bit", "block_size": 2}, )";
  const Tape tape = read(document(
      start + R"("data": )" + tensor("i8", "[4]", "[1, -2, 3, -4]") +
      R"(, "scale": )" + tensor("f32", "[1, 2, 1, 1]", "[0.5, 2]") + "}}}"));
  const Tensor& key = *tape.cache.layers.at(0).key;
  CHECK(key.dtype == DType::kBF16);
  CHECK(key.quantization.scheme == Quantization::Scheme::kInt8);
  CHECK(key.quantization.scale_count == 2);
  CHECK(elements<std::int8_t>(key) == std::vector<std::int8_t>{1, -2, 3, -4});
  const Tape summary =
      read(document(start + R"("encoding": "summary", "count": 4}}})"));
  const Tensor& told = *summary.cache.layers.at(0).key;
  CHECK(told.quantization.payload_count == 4);
  CHECK(told.quantization.scale_count == 2);
  CHECK_FALSE(told.source->has_values());
}

TEST_CASE("a tensor without values is known, and cannot be read") {
  const Document file(document(
      R"("tokens": {"dtype": "i32", "shape": [1, 2], "axes": ["batch",
         "position"], "encoding": "summary", "count": 2, "min": 0, "max": 1,
         "mean": 0.5, "std": 0.5, "zeros": 1, "nan": 0, "inf": 0,
         "digest": "xxh3:00"})"));
  const Tape tape = read_tape(file.path);
  CHECK(shape_text(*tape.cache.tokens) == "[1, 2]");
  CHECK(tape.cache.tokens->source->storage().digest == "xxh3:00");
  CHECK(tape.findings.back().rule == "W05");
  CHECK_THROWS_WITH(
      integers(*tape.cache.tokens),
      file.path.string() + ": /tokens: its values are not in the document");
}

TEST_CASE("a record as EasyDeL writes it is metadata without a cache") {
  const Document file(
      R"({"batch_size": 1, "sequence_length": 2, "num_hidden_layers": 3,
          "pad_token_id": 0, "num_heads": null, "head_dim": 4})");
  const TapeFile opened = open_tape(file.path);
  CHECK(opened.format == TapeFile::Format::kJsonMetadata);
  CHECK(opened.tape.cache.metadata.num_hidden_layers == 3);
  CHECK(opened.tape.cache.metadata.head_dim == 4);
  CHECK(opened.tape.findings.empty());
}

// A stream that gives its text a few bytes at a time.
TextStream in_pieces(const std::string& text, std::size_t piece,
                     std::size_t block) {
  return TextStream(
      [&text, piece, at = std::size_t{0}](std::span<char> out) mutable {
        const std::size_t count =
            std::min({piece, out.size(), text.size() - at});
        std::memcpy(out.data(), text.data() + at, count);
        at += count;
        return count;
      },
      {}, block);
}

TEST_CASE("where blocks end makes no difference") {
  const std::string text =
      document(R"("a": )" + tensor("f32", "[3]", "[ 1.25 ,\n\t-2e10,3 ]") +
               R"(, "b": {"dtype": "i16", "shape": [5], "encoding": "base64",
          "data": "AQACAAMABAAFAA=="}, "c": )" +
               tensor("bool", "[0]", "[ ]") + R"(, "d": "\u00e9\\\"")");
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U})
    for (const std::size_t block : {64U, 65U, 4096U}) {
      TextStream stream = in_pieces(text, piece, block);
      TensorStore store(16);  // and a temporary file
      const JsonDocument read = read_document(stream, store);
      REQUIRE(read.objects.size() == 4);
      CHECK(read.objects[0].attributes.front().second ==
            AttributeValue(std::string("\u00e9\\\"")));
      std::array<float, 3> a{};
      std::array<std::int16_t, 5> b{};
      const auto bytes = store.bytes();
      std::memcpy(a.data(), &bytes[std::size_t(read.elements[1].first)], 12);
      std::memcpy(b.data(), &bytes[std::size_t(read.elements[2].first)], 10);
      CHECK(a == std::array{1.25F, -2e10F, 3.0F});
      CHECK(b == std::array<std::int16_t, 5>{1, 2, 3, 4, 5});
    }
}

TEST_CASE("what is wrong first in base64 is said, in whatever pieces") {
  for (const auto& [data, message] :
       {std::pair("AQAC!AAMAB", "byte 0x21"), std::pair("AQACAAMAB", "more"),
        std::pair("AQAC", "4 values"), std::pair("AQ==AAAA", "behind its"),
        std::pair("AQA", "a part of one"), std::pair("AB==", "does not fit")})
    for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U}) {
      const std::string text =
          document(R"("b": {"dtype": "u8", "shape": [4], "encoding": "base64",
          "data": ")" +
                   std::string(data) + R"("})");
      TextStream stream = in_pieces(text, piece, 4096);
      TensorStore store(1 << 10);
      CHECK_THROWS_WITH(read_document(stream, store), Catch::Contains(message));
    }
}

// Without where in the text it is.
std::string reason(const std::string& text) {
  std::string message = refusal(text);
  const std::size_t place = message.find("line ");
  const std::size_t end = message.find(": ", place);
  if (place != message.npos) message.erase(place, end + 2 - place);
  return message;
}

struct Refused {
  std::string text;
  std::string message;
};

// The documents of trust.md 2.4 and more; none may take memory or time.
std::vector<Refused> refused_texts() {
  const std::string order = "{\"schema\": \"kvtape.dump/1\", ";
  return {
      {"{",
       "/: no JSON: while parsing object key - unexpected "
       "end of input; expected string literal"},
      {"[1]", "expected an object, found a list"},
      {"{}", "/: schema: expected \"kvtape.dump/1\", found nothing"},
      {R"({"schema": "kvtape.info/1"})",
       "/: schema: expected \"kvtape.dump/1\", found \"kvtape.info/1\""},
      {R"({"schema": "kvtape.dump/1"})",
       "format_version: expected 1, found None"},
      {R"({"schema": "kvtape.dump/1", "format_version": 2})",
       "format_version: expected 1, found 2"},
      {"\xEF\xBB\xBF{}", "no JSON: it begins with a byte order mark"},
      {document("\"a\": 1") + " x",
       "no JSON: while parsing value - invalid literal; "
       "expected end of input"},
      {document("\"a\": 18446744073709551616"),
       "/: a: expected an integer below 2^64, from -2^63 "
       "on, found 18446744073709551616"},
      {document("\"a\": -9223372036854775809"),
       "/: a: expected an integer below 2^64, from -2^63 "
       "on, found -9223372036854775809"},
      {document("\"a\": -0"), "/: a: expected 0, or -0.0, found -0"},
      {document("\"a\": 1e400"),
       "/: a: no JSON: a number "
       "that no f64 holds"},
      {document("\"a\": 1e-400"),
       "/: a: expected a number that f64 tells from 0, "
       "found 1e-400"},
      {document("\"a\": NaN"),
       "/: a: no JSON: while parsing value - invalid "
       "literal"},
      {document("\"a\": 1, \"b\": 2, \"a\": 3"), "/: a: stands here twice"},
      {document("\"a\": \"\xff\""),
       "/: a: no JSON: while parsing value - invalid "
       "string: ill-formed UTF-8 byte"},
      {document("\"a\": [1.5]"),
       "/: a: expected a list of integers, found 1.5"},
      {document("\"a\": [[1]]"),
       "/: a: expected numbers or texts, found a list"},
      {document("\"a\": {\"b/c\": {}}"),
       "/a: b/c: expected a name without slashes, found "
       "'b/c'"},
      {document("\"a\": {\"b\": 1, \"dtype\": 2}"),
       "/a: dtype: stands behind other members"},
      {R"({"views": [{"key": "[[[[0. 0.]]]]"}]})",
       "/: views: expected a document of kvtape, found a "
       "cache as EasyDeL's to_json prints it"},
      {R"({"key": "[[[[0. 0.]]]]", "value": null})",
       "/: key: expected a tensor, found an array that was "
       "printed as text"},
  };
}

TEST_CASE("documents that are refused, and why") {
  for (const Refused& row : refused_texts()) {
    CAPTURE(row.text);
    CHECK(reason(row.text) == row.message);
  }
}

// A tensor /x of the members, refused in these words after "/x: ".
std::vector<Refused> refused_tensors() {
  const std::string start = R"("dtype": "f32", "shape": [2], )";
  const std::string data = R"("encoding": "numbers", "data": )";
  return {
      {R"("dtype": "f32", "data": [1], "shape": [1])",
       "data: stands before its shape"},
      {start + R"("data": [1, 2], "encoding": "numbers")",
       "data: stands before its encoding"},
      {R"("dtype": "f31")",
       "dtype: expected f64, f32, f16, bf16, i64, ..., u8 or bool, found "
       "\"f31\""},
      {R"("dtype": "f32", "shape": [-1])",
       "shape: expected a list of sizes, found -1"},
      {R"("dtype": "f32", "shape": [3037000500, 3037000500])",
       "shape: expected a size that fits 63 bits, found [3037000500, "
       "3037000500]"},
      {R"("dtype": "f32", "shape": [1,1,1,1,1,1,1,1,1])",
       "shape: expected at most 8 axes, found 9"},
      {start + R"("colour": 1)", "colour: no member of a tensor"},
      {start + R"("encoding": "hex")",
       "encoding: expected \"none\", \"summary\", \"numbers\" or \"base64\", "
       "found \"hex\""},
      {start + R"("encoding": "none", "data": [])",
       "data: expected no values with this encoding, found some"},
      {start + R"("encoding": "numbers")",
       "data: expected the values, found nothing"},
      {start + data + "[1]",
       "data: expected 2 values, as the shape says, found 1"},
      {start + data + "[1, 2, 3]",
       "data: expected 2 values, as the shape says, found more"},
      {start + data + "[1, 2,]",
       "data: expected 2 values, as the shape says, found more"},
      {start + data + "[[1, 2]]", "data[0]: expected a JSON number, found [1"},
      {start + data + "[NaN, 1]", "data[0]: expected a JSON number, found NaN"},
      {start + data + "[01, 1]", "data[0]: expected a JSON number, found 01"},
      {start + data + "[1e39, 1]",
       "data[0]: expected a value of f32, found 1e39, which is too large for "
       "it"},
      {start + data + "[1e-46, 1]",
       "data[0]: expected a value of f32, found 1e-46, which would become 0"},
      {start + data + "[0.1000000001, 1]",
       "data[0]: expected a value of f32, found 0.1000000001, whose digits are "
       "more than it holds"},
      {start + data + "[1, 2", "data[1]: expected a JSON number, found 2}}"},
      {start + data + "\"AAAA\"",
       "data: expected a list of numbers, found something else"},
      {start + R"("encoding": "base64", "data": "AACAPwAAgD8AAIA/")",
       "data: expected 2 values, as the shape says, found more"},
      {start + R"("encoding": "base64", "data": "AACAPw=="})",
       "data: expected 2 values, as the shape says, found 1"},
      {start + R"("encoding": "base64", "data": "AA\/AAAA")",
       "data: expected base64, found byte 0x5c"},
      {start + R"("encoding": "base64", "data": "AACAPwAAgD9=")",
       "data: expected base64, found padding that does not fit"},
      {start + R"("nan_payloads": [[2, "7fc00001"]])",
       "nan_payloads: expected ascending numbers of elements, found 2"},
      {start + R"("nan_payloads": [[0, "7f800000"]])",
       "nan_payloads: expected the bits of a NaN, found \"7f800000\""},
      {start + R"("nan_payloads": [-1])",
       "nan_payloads: expected pairs, found -1"},
      {start + R"("nan_payloads": [0, "7fc00001"])",
       "nan_payloads: expected pairs, found 0"},
      {start + R"("nan_payloads": [[0, "7fc00001", 1, "7fc00001"]])",
       "nan_payloads: expected pairs, found another list"},
      {start + R"("nan_payloads": [[]])",
       "nan_payloads: expected pairs, found another list"},
      {start + R"("encoding": "numbers", "nan_payloads": [[0, "7fc00001"]], )"
               R"("data": [1, 2])",
       "data: expected NaN at element 0, found a number"},
      {start + R"("encoding": "base64", "nan_payloads": [[0, "7fc00001"]], )"
               R"("data": "AADAfwAAwH8=")",
       "nan_payloads: expected the encoding numbers, found another"},
      {R"("dtype": "i8", "shape": [1], )" + data + "[128]",
       "data[0]: expected an integer of i8, found 128"},
      {R"("dtype": "i8", "shape": [1], )" + data + "[1.0]",
       "data[0]: expected an integer of i8, found 1.0"},
      {R"("dtype": "bool", "shape": [1], )" + data + "[1]",
       "data[0]: expected true or false, found 1"},
      {start + R"("attributes": {"axes": "x"}, "axes": ["y"])",
       "axes: out of its order"},
      {start + R"("axes": ["y"], "attributes": {"axes": "x"}, )" + data +
           "[1, 2]",
       "axes: stands in \"attributes\" too"},
  };
}

TEST_CASE("tensors that are refused, and why") {
  for (const Refused& row : refused_tensors()) {
    CAPTURE(row.text);
    CHECK(reason(document("\"x\": {" + row.text + "}")) ==
          "/x: " + row.message);
  }
}

TEST_CASE("an error says where in the text it is") {
  CHECK(refusal("{\n\"schema\": \"kvtape.dump/1\",\n  \"a\": x}") ==
        "/: a: line 3, column 8: no JSON: while parsing value - invalid "
        "literal");
  CHECK(refusal(document("\n\"x\":\n" + tensor("f32", "[3]", "[1,\n 2,\n y]")))
            .starts_with(
                "/x: data[2]: line 5, column 2: expected a JSON number"));
}

TEST_CASE("16-bit floats are rounded once, and never out of their range") {
  const Tape tape =
      read(document("\"a\": " + tensor("f16", "[3]", "[65504, 0.3333, 6e-8]") +
                    ", \"b\": " + tensor("bf16", "[2]", "[3.39e38, 0.3340]")));
  CHECK(elements<std::uint16_t>(*extra(tape, "/a").tensor) ==
        std::vector<std::uint16_t>{0x7bff, 0x3555, 0x0001});
  CHECK(elements<std::uint16_t>(*extra(tape, "/b").tensor) ==
        std::vector<std::uint16_t>{0x7f7f, 0x3eab});
  CHECK(refusal(document("\"a\": " + tensor("f16", "[1]", "[65520]")))
            .ends_with("found 65520, which is too large for it"));
}

TEST_CASE("deep, long and many are refused before they take memory") {
  const std::string deep(100'000, '[');
  CHECK(reason(document("\"a\": " + deep)) ==
        "/: a: expected numbers or texts, found a list");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK(refusal(document("\"a\": " + objects))
            .ends_with("expected at most 16 groups in groups, found more"));
  CHECK(refusal(document("\"a\": \"" + std::string(2 << 20, 'x') + "\""))
            .ends_with("expected a text of at most 1 MiB, found a longer one"));
  CHECK(refusal(document("\"a\": \"" + std::string(70'000, 'x') + "\""))
            .ends_with("expected at most 65536 bytes, found more"));
  CHECK(refusal(document("\"a\": " + std::string(2000, '1')))
            .ends_with("expected a word of at most 1024 bytes, found a longer "
                       "one"));
  CHECK(refusal(
            document("\"a\": " + tensor("f32", "[4611686018427387904]", "[1]")))
            .ends_with("found [4611686018427387904]"));
  CHECK(
      refusal(
          document("\"a\": " + tensor("i8", "[4611686018427387904]", "[1]")))
          .ends_with("expected 4611686018427387904 values, as the shape says, "
                     "found 1"));
}

}  // namespace
}  // namespace kvtape::test
