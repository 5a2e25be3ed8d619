// Dicts, JSON and the pure form, against EasyDeL's own texts and Python's.
#include "kvtape/serialize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "kvtape/pure.h"
#include "kvtape/replace.h"
#include "kvtape/sample.h"

namespace kvtape {
namespace {

CacheMetadata small_metadata() {
  return {.batch_size = 1,
          .sequence_length = 2,
          .num_hidden_layers = 1,
          .pad_token_id = 0,
          .num_heads = 1,
          .head_dim = 2,
          .key_heads = 1,
          .value_heads = 1,
          .key_dim = 2,
          .value_dim = 2};
}

// Real EasyDeL's, testdata/goldens/README.md.
const char* const kSmallRecord =
    "{\"batch_size\": 1, \"sequence_length\": 2, \"num_hidden_layers\": 1, "
    "\"pad_token_id\": 0, \"num_heads\": 1, \"head_dim\": 2, \"key_heads\": 1, "
    "\"value_heads\": 1, \"key_dim\": 2, \"value_dim\": 2, "
    "\"update_causal_mask\": true, \"create_attention_bias\": true}";

template <typename T>
std::string refusal(const Dict& dict, Keys keys = Keys::kStrict) {
  try {
    from_dict<T>(dict, keys);
  } catch (const Error& error) {
    return error.what();
  }
  return "read";
}

std::vector<SampleOptions> samples() {
  SampleOptions plain;
  SampleOptions turned{.batch_axes = {2, 3}, .dtype = DType::kBF16};
  turned.axes = "head,batch,dim,position";
  SampleOptions coded{.key_dim = 64, .value_dim = 64};
  coded.quantization = Quantization::Scheme::kNF4;
  SampleOptions rows{.key_dim = 64, .value_dim = 64, .dtype = DType::kF16};
  rows.quantization = Quantization::Scheme::kInt8;
  SampleOptions stacked;
  stacked.stacked = true;
  stacked.axes = "layer,batch,position,head,dim";
  return {plain, turned, coded, rows, stacked};
}

TEST_CASE("metadata as EasyDeL writes it") {
  CHECK(to_json(small_metadata()) == kSmallRecord);
  CHECK(from_json<CacheMetadata>(kSmallRecord) == small_metadata());
  CacheMetadata nothing = small_metadata();
  nothing.pad_token_id.reset();
  CHECK(to_dict(nothing).at("pad_token_id").is_null());
  CHECK(from_dict<CacheMetadata>(to_dict(nothing)) == nothing);
}

TEST_CASE("unknown keys are refused, or ignored as EasyDeL does") {
  Dict dict = to_dict(small_metadata());
  dict["heads"] = 3;
  CHECK(refusal<CacheMetadata>(dict) == "/metadata: heads: is unknown");
  CHECK(from_dict<CacheMetadata>(dict, Keys::kEasyDel) == small_metadata());
  dict["key_dim"] = "4";
  CHECK(refusal<CacheMetadata>(dict, Keys::kEasyDel) ==
        "/metadata: key_dim: expected an integer, found \"4\"");
}

TEST_CASE("specs") {
  const AttentionSpec attention{
      .query_heads = 8, .softmax_scale = 0.125, .head_map = HeadMap::kTile};
  CHECK(to_json(attention) ==
        "{\"query_heads\": 8, \"softmax_scale\": 0.125, \"head_map\": "
        "\"tile\"}");
  CHECK(from_dict<AttentionSpec>(to_dict(attention)) == attention);
  const RotarySpec rotary{.keys_rotated = false,
                          .style = RotaryStyle::kHalf,
                          .inv_freq = std::vector<double>{1, 0.1}};
  CHECK(from_dict<RotarySpec>(to_dict(rotary)) == rotary);
  CHECK(to_json(AttentionSpec{}) == "{}");
  CHECK(from_dict<AttentionSpec>(Dict::object()) == AttentionSpec{});
}

TEST_CASE("dicts of caches, layers and traces come back bit for bit") {
  for (const SampleOptions& options : samples()) {
    const Tape tape = make_sample(options);
    for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64}) {
      const Tape back = from_dict<Tape>(to_dict(tape, encoding));
      CHECK(first_difference(tape, back).value_or("") == "");
      const Cache cache = from_dict<Cache>(to_dict(tape.cache, encoding));
      CHECK(first_difference(tape.cache, cache).value_or("") == "");
    }
    const Trace trace = from_dict<Trace>(to_dict(*tape.trace));
    CHECK(trace.layers.size() == tape.trace->layers.size());
    CHECK_FALSE(first_difference(*trace.layers.at(0).query,
                                 *tape.trace->layers.at(0).query));
    if (tape.cache.layers.at(0).key->layer) continue;  // stacked: no key alone
    const LayerCache layer =
        from_dict<LayerCache>(to_dict(tape.cache.layers.at(0)));
    CHECK_FALSE(first_difference(*layer.key, *tape.cache.layers.at(0).key));
  }
}

TEST_CASE("arrays that EasyDeL printed are refused with the reason") {
  Dict layer{{"key", "[[[[0. 0.]]\n\n  [[0. 0.]]]]"}};
  const std::string text = refusal<LayerCache>(layer);
  CAPTURE(text);
  CHECK(text.find("/layers/0") != std::string::npos);
  CHECK(text.find("printed as text") != std::string::npos);
  CHECK(refusal<Cache>({{"views", Dict::array()}}) != "read");
}

TEST_CASE("the pure form gives the cache back") {
  for (const SampleOptions& options : samples()) {
    Cache cache = make_sample(options).cache;
    cache.layers.erase(0);  // an absent layer
    cache.layers.at(1).window = 7;
    const PureCache pure = to_pure(cache);
    CHECK(pure.layers.size() == cache.layers.size());
    CHECK(pure.layers.front().key.has_value());
    CHECK_FALSE(pure.rest.layers.at(1).key.has_value());
    CHECK_FALSE(first_difference(from_pure(pure), cache));
    const Cache theirs = from_pure(pure.layers, pure.metadata);
    CHECK(theirs.layers.begin()->first == 0);
    CHECK_FALSE(theirs.layers.at(0).window);
  }
  PureCache wrong = to_pure(make_sample({}).cache);
  wrong.layers.pop_back();
  CHECK_THROWS_AS(from_pure(wrong), Error);
}

TEST_CASE("replace changes a copy") {
  const CacheMetadata metadata = small_metadata();
  const CacheMetadata changed =
      replace(metadata, [](auto& m) { m.batch_size = 5; });
  CHECK(changed.batch_size == 5);
  CHECK(metadata.batch_size == 1);
  CHECK(changed.key_dim == metadata.key_dim);
}

TEST_CASE("equal means bits, wherever the axes lie") {
  const auto tensor = [](std::vector<Axis> axes, std::vector<float> values) {
    std::vector<std::byte> bytes(values.size() * 4);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return make_tensor(DType::kF32, std::move(axes), std::move(bytes));
  };
  const Axis position{AxisKind::kPosition, "position", 2};
  const Axis dim{AxisKind::kDim, "dim", 3};
  const Tensor a = tensor({position, dim}, {1, 2, 3, 4, 5, 6});
  CHECK_FALSE(first_difference(a, tensor({dim, position}, {1, 4, 2, 5, 3, 6})));
  CHECK(first_difference(a, tensor({dim, position}, {1, 4, 2, 5, 3, 7})) ==
        "[1, 2]");
  CHECK(first_difference(a, tensor({position, dim}, {1, 2, 3, 4, 0, 6})) ==
        "[1, 1]");
  const Axis other{AxisKind::kPosition, "seq", 2};
  CHECK(first_difference(a, tensor({other, dim}, {1, 2, 3, 4, 5, 6})) ==
        "shape");
  const float nan = std::nanf("");
  const Axis one{AxisKind::kBatch, "batch", 1};
  CHECK_FALSE(first_difference(tensor({one}, {nan}), tensor({one}, {nan})));
  CHECK(first_difference(tensor({one}, {nan}), tensor({one}, {-nan})) == "[0]");
  CHECK(first_difference(tensor({one}, {0.0F}), tensor({one}, {-0.0F})) ==
        "[0]");
}

TEST_CASE("JSON is told what is wrong with it") {
  CHECK_THROWS_AS(parse_json("{"), Error);
  CHECK_THROWS_AS(parse_json("{\"a\": 1, \"a\": 2}"), Error);
  CHECK_THROWS_AS(parse_json("1e999"), Error);
  CHECK_THROWS_AS(parse_json(std::string(100000, '[')), Error);
  CHECK(parse_json("{\"a\": {\"a\": 1}, \"b\": {\"a\": 2}}").size() == 2);
}

// Python prints what we print, for numbers, texts and nestings of all sorts.
TEST_CASE("the text is Python's, in every style") {
  const Dict dict{
      {"floats",
       {0.1, 1.0, -0.0, 1e16, 1e-5, 0.0001, 123456789012345.0, 1e22, 5e-324,
        1.7976931348623157e308, 9999999999999998.0}},
      {"integers", {0, -1, INT64_MIN, UINT64_MAX}},
      {"texts", {"", "a\"b\\c\n\t\b\f\r\x7f", "\xc3\xa9", "\xf0\x9f\x98\x80"}},
      {"nested", {{"z", Dict::object()}, {"a", Dict::array()}, {"m", nullptr}}},
      {"flags", {true, false}}};
  const std::pair<JsonStyle, const char*> styles[] = {
      {{}, ""},
      {{.indent = 2}, "indent=2"},
      {{.indent = 0}, "indent=0"},
      {{.item_separator = ",", .key_separator = ":"},
       "separators=(\",\",\":\")"},
      {{.indent = 4, .sort_keys = true}, "indent=4,sort_keys=True"}};
  const char* folder = std::getenv("KVTAPE_IO_FILES");
  REQUIRE(folder != nullptr);
  for (const auto& [style, arguments] : styles) {
    const std::string path = std::string(folder) + "/python_json.json";
    std::ofstream(path) << to_json(dict, style);
    const std::string command =
        "/usr/bin/python3 -c 'import json,sys; t=open(sys.argv[1]).read(); "
        "sys.exit(json.dumps(json.loads(t)" +
        std::string(*arguments == '\0' ? "" : ",") + arguments + ") != t)' " +
        path;
    CAPTURE(arguments);
    CHECK(std::system(command.c_str()) == 0);
  }
}

}  // namespace
}  // namespace kvtape
