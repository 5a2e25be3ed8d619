// What the reader makes of files, against numbers that are computed here.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape::test {
namespace {

// testdata/make.py's ramp(2, 6, 2, 4), whatever it is stored as.
std::vector<double> ramp(int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back((i % 256) / 4.0);
  return values;
}

TEST_CASE("every storage of the same numbers reads as these numbers") {
  for (const char* name :
       {"contiguous", "old_layout", "big_endian", "big_endian_chunked",
        "chunked", "chunked_new", "gzip", "gzip_shuffle",
        "gzip_shuffle_fletcher32", "fletcher32", "compact"}) {
    INFO(name);
    const Tape tape = read_tape(made(name));
    REQUIRE(tape.findings.empty());
    const LayerCache& layer = tape.cache.layers.at(0);
    CHECK(doubles(*layer.key) == ramp(96));
    CHECK(doubles(*layer.value) == ramp(96));
    CHECK(integers(*layer.index) == std::vector<std::int64_t>{6, 4});
  }
}

TEST_CASE("contiguous little-endian tensors are addressable, others are not") {
  const auto key = [](const char* name) {
    return *read_tape(made(name)).cache.layers.at(0).key;
  };
  CHECK_FALSE(key("contiguous").source->bytes().empty());
  for (const char* name : {"big_endian", "chunked", "compact"})
    CHECK(key(name).source->bytes().empty());
  const Storage storage = key("gzip_shuffle_fletcher32").source->storage();
  CHECK(storage.layout == "chunked");
  CHECK(storage.filters == "shuffle, deflate, fletcher32");
}

TEST_CASE("bf16 in its three spellings") {
  const Tape tape = read_tape(made("bf16"));
  CHECK(tape.findings.empty());
  CHECK(tape.extras.empty());
  for (const std::int64_t number : {0, 1, 2}) {
    const Tensor& key = *tape.cache.layers.at(number).key;
    CHECK(key.dtype == DType::kBF16);
    CHECK(doubles(key) == ramp(96));
  }
}

TEST_CASE("a box is what its place in the whole says") {
  for (const char* name : {"contiguous", "big_endian", "chunked", "compact"}) {
    INFO(name);
    const Tensor key = *read_tape(made(name)).cache.layers.at(0).key;
    std::vector<float> out(2 * 3 * 1 * 2);
    key.source->read({{0, 2, 1, 1}, {2, 3, 1, 2}},
                     std::as_writable_bytes(std::span(out)));
    std::size_t i = 0;
    for (int row : {0, 1})
      for (int position : {2, 3, 4})
        for (int dim : {1, 2})
          CHECK(out[i++] ==
                float(((row * 6 + position) * 2 + 1) * 4 + dim) / 4);
    CHECK_THROWS_AS(key.source->read({{0, 5, 0, 0}, {1, 2, 1, 1}},
                                     std::as_writable_bytes(std::span(out))),
                    Error);
    CHECK_THROWS_AS(key.source->read({{0, 0, 0, 0}, {1, 1, 1, 1}},
                                     std::as_writable_bytes(std::span(out))),
                    Error);
  }
}

TEST_CASE("chunks may be read from several threads") {
  const Tape tape = read_tape(made("gzip_shuffle_fletcher32"));
  const auto expected = ramp(96);
  std::vector<int> right(4, 0);
  std::vector<std::thread> threads;
  for (int& count : right)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        count += doubles(*tape.cache.layers.at(0).key) == expected ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(right == std::vector<int>(4, 50));
}

TEST_CASE("tensors keep their file alive") {
  std::optional<Tensor> key;
  { key = read_tape(made("gzip")).cache.layers.at(0).key; }
  CHECK(doubles(*key) == ramp(96));
}

TEST_CASE("axes in the source's order and words") {
  const Tape tape = read_tape(made("axes"));
  CHECK(tape.findings.empty());
  const LayerCache& layer = tape.cache.layers.at(0);
  CHECK(layer.key->axes == std::vector<Axis>{{AxisKind::kBatch, "outer", 2},
                                             {AxisKind::kBatch, "inner", 3},
                                             {AxisKind::kDim, "projection", 4},
                                             {AxisKind::kHead, "heads", 2},
                                             {AxisKind::kPosition, "seq", 6}});
  CHECK(extent(*layer.key, AxisKind::kBatch) == 6);
  CHECK(strides(*layer.key).position == 1);
  CHECK_FALSE(has_axis(*layer.value, AxisKind::kHead));
  CHECK(extent(*layer.index, AxisKind::kBatch) == 6);
}

TEST_CASE("a stack is a view for each of its layers") {
  const Tape tape = read_tape(made("stack"));
  CHECK(tape.findings.empty());
  REQUIRE(tape.cache.layers.size() == 3);
  std::int64_t place = 0;
  for (const auto& [number, layer] : tape.cache.layers) {
    CHECK(layer.key->layer == place++);
    CHECK(shape_text(*layer.key) == "[2, 6, 2, 4]");
    CHECK(integers(*layer.index)[0] == number);
  }
  // Row 1 of the second layer begins after row 0 of three and one more.
  const Tensor& key = *tape.cache.layers.at(2).key;
  CHECK(doubles(key)[48] == ((3 + 1) * 48 % 256) / 4.0);
}

TEST_CASE("quantized tensors: codes and scales in a row") {
  const Tape tape = read_tape(made("quantized"));
  CHECK(tape.findings.empty());
  const Tensor& key = *tape.cache.layers.at(0).key;
  CHECK(key.quantization.scheme == Quantization::Scheme::kInt8);
  CHECK(key.quantization.payload_count == 96);
  CHECK(key.quantization.scale_count == 24);
  const Tensor& value = *tape.cache.layers.at(0).value;
  CHECK(value.quantization.scheme == Quantization::Scheme::kNF4);
  CHECK(value.dtype == DType::kBF16);
  CHECK(value.quantization.scale_dtype == DType::kBF16);
  // The chunked copy reads like the contiguous codes, any range of them.
  const Tensor& copy = *tape.final_state->layers.at(0).key;
  std::vector<std::byte> a(41);
  std::vector<std::byte> b(41);
  key.source->read({{17}, {41}}, a);
  copy.source->read({{17}, {41}}, b);
  CHECK(a == b);
}

TEST_CASE("no positions yet") {
  const Tape tape = read_tape(made("empty_positions"));
  CHECK(tape.findings.empty());
  CHECK(extent(*tape.cache.layers.at(0).key, AxisKind::kPosition) == 0);
  CHECK(doubles(*tape.cache.layers.at(0).key).empty());
}

TEST_CASE("every place of the format is read") {
  const Tape tape = read_tape(made("everything"));
  CHECK(tape.model == "tiny");
  CHECK(tape.cache.metadata.num_heads == 4);
  CHECK_FALSE(tape.cache.metadata.head_dim);  // None
  CHECK_FALSE(tape.cache.metadata.create_attention_bias);
  CHECK(tape.cache.attention.head_map == HeadMap::kTile);
  CHECK(tape.cache.attention.softmax_scale == 0.5);
  CHECK(tape.cache.rotary.inv_freq == std::vector<double>{1.0, 0.25});
  REQUIRE(tape.cache.layers.size() == 3);
  const LayerCache& layer = tape.cache.layers.at(2);
  CHECK(layer.layout == Layout::kRing);
  CHECK(layer.window == 4);
  CHECK(layer.attention.visibility == Visibility::kCausal);
  CHECK(layer.rotary.theta == 10000.0);
  CHECK(tape.cache.tokens->dtype == DType::kU16);
  CHECK(tape.cache.attention_mask->dtype == DType::kBool);
  REQUIRE(tape.trace);
  CHECK(tape.trace->keys_in == Trace::KeysIn::kCache);
  CHECK(integers(*tape.trace->step_lengths) == std::vector<std::int64_t>{2, 1});
  const LayerTrace& trace = tape.trace->layers.at(2);
  CHECK((trace.query && trace.output && trace.attention_mask &&
         trace.start_index));
  REQUIRE(tape.final_state);
  CHECK(tape.final_state->layers.at(2).index);
}

const Extra* find(const Tape& tape, const std::string& path) {
  for (const Extra& extra : tape.extras)
    if (extra.path == path) return &extra;
  return nullptr;
}

TEST_CASE("what has no place is kept, and named where it may be a slip") {
  const Tape tape = read_tape(made("everything"));
  CHECK(find(tape, "/")->attributes ==
        std::vector<std::pair<std::string, AttributeValue>>{
            {"note", std::string("kept")}});
  REQUIRE(find(tape, "/trace/operations/0"));
  CHECK(find(tape, "/trace/operations/0")->attributes.size() == 4);
  REQUIRE(tape.trace->operations.contains(0));
  const Operation& operation = tape.trace->operations.at(0);
  CHECK(operation.kind == OperationKind::kAppend);
  CHECK(extent(*operation.key, AxisKind::kToken) == 0);
  CHECK(operation.result->layers.contains(0));
  REQUIRE(find(tape, "/layers/2/weights/query"));
  CHECK(find(tape, "/layers/2/weights/query")->tensor->axes[0].name ==
        "embedding");
  CHECK(find(tape, "/trace/layers/2/hidden"));
  std::vector<std::string> named;
  for (const Finding& finding : tape.findings)
    named.push_back(finding.rule + " " + finding.object + " " + finding.field);
  CHECK(named == std::vector<std::string>{
                     "W01 /layers/2 windw", "W02 /layers/2/keys object",
                     "W02 /somebody object", "W01 /trace/operations/0 at",
                     "W01 /trace/operations/0 big",
                     "W01 /trace/operations/0 list",
                     "W01 /trace/operations/0 none"});
}

TEST_CASE("each rule of the reader has a file that breaks it") {
  const Tape tape = read_tape(made("findings"));
  std::vector<std::string> found;
  for (const Finding& finding : tape.findings) {
    INFO(finding.rule << " " << finding.object << " " << finding.field);
    CHECK_FALSE(finding.object.empty());
    CHECK_FALSE(finding.field.empty());
    CHECK_FALSE(finding.expected.empty());
    CHECK_FALSE(finding.found.empty());
    CHECK_FALSE(finding.fix.empty());
    found.push_back(finding.rule + " " + finding.object);
  }
  const auto has = [&](const std::string& line) {
    return std::find(found.begin(), found.end(), line) != found.end();
  };
  for (const char* line : {
           "E01 /metadata",
           "E02 /metadata",
           "E02 /attention",
           "E03 /layers/0/key",
           "E03 /layers/0/value",
           "E04 /layers/1/key",
           "E02 /layers/1/value",
           "E05 /layers/last",
           "E05 /stack/key",
           "E06 /rotary/inv_freq",
           "E06 /trace/layers/0/query",
           "W01 /layers/0",
           "W02 /layers/0/keys",
           "W03 /layers/0/index",
           "W04 /layers/2/key",
           "W04 /layers/2/value",
       }) {
    INFO(line);
    CHECK(has(line));
  }
}

}  // namespace
}  // namespace kvtape::test
