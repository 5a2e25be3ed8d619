// Logs of operations: recordings of the real systems (testdata/operations), and
// what is wrong with one.
#include "kvtape/replay_operations.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "kvtape/io.h"
#include "kvtape/serialize.h"

namespace kvtape {
namespace {

namespace fs = std::filesystem;
using Status = OperationOutcome::Status;

fs::path folder() {
  const char* testdata = std::getenv("KVTAPE_TESTDATA");
  REQUIRE(testdata != nullptr);
  return fs::path(testdata) / "operations";
}

Tape logged(const std::string& name) {
  return read_tape((folder() / (name + ".json")).string());
}

// What the system does there without a word, as checked mode says it.
const std::map<std::string, std::string>& silent() {
  static const std::map<std::string, std::string> kSilent{
      {"append_bf16_f16", "makes the whole entry f32"},
      {"append_frozen", "attends to the 3 stored tokens and the new ones only"},
      {"append_promote_f16_f32", "makes the whole entry f32"},
      {"attn_frozen", "attends to the 3 stored tokens and the new ones only"},
      {"attn_ragged", "overwrites what is there"},
      {"attn_window_chunked", "counts the window from the start of the block"},
      {"cat_cast_f16", "overwrites what is there"},
      {"cat_causal_larger_than_cache", "overwrites what is there"},
      {"cat_overflow_block", "overwrites what is there"},
      {"cat_quant_nf4", "stores the whole cache so from here on"},
      {"cat_ragged_index", "overwrites what is there"},
      {"cat_tti_batch1_fullT", "takes the types from token 0 on"},
      {"ins_b2_slot3", "writes from row 2 on"},
      {"ins_more_layers", "ignores the others"},
      {"ins_quant_a8bit", "stores the whole cache so from here on"},
      {"ins_slot_7", "writes from row 3 on"},
      {"ins_slot_m4", "writes from row 0 on"},
      {"ins_small_heads", "writes the low corner"},
      {"insert_index_2", "writes from row 2 on"},
      {"insert_index_4", "writes from row 3 on"},
      {"insert_starts_2", "writes from row 2 on"},
      {"insert_starts_4", "writes from row 3 on"},
      {"mask_dtypes_f32", "makes the whole mask f32"},
  };
  return kSilent;
}

TEST_CASE("logs of the real systems are reproduced, bit for bit") {
  std::size_t files = 0;
  std::size_t refused = 0;
  for (const auto& entry : fs::directory_iterator(folder())) {
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    ++files;
    const Tape tape = read_tape(entry.path().string());
    CHECK(tape.findings.empty());
    CHECK(tape.extras.empty());
    CHECK(replay_operations(tape, {.mode = Mode::kFaithful}).success());
    const OperationsReport report = replay_operations(tape);
    const auto found = silent().find(name);
    CHECK(report.success() == (found == silent().end()));
    if (found == silent().end()) continue;
    ++refused;
    REQUIRE(report.broken);
    const OperationOutcome& broken = report.operations[*report.broken];
    CHECK(broken.status == Status::kRefused);
    CHECK_THAT(broken.message, Catch::Contains(found->second));
  }
  CHECK(files == 59);
  CHECK(refused == silent().size());
}

TEST_CASE("a log is the same in HDF5, and as a dict") {
  const fs::path path =
      fs::temp_directory_path() / "kvtape_replay_operations_test.h5";
  for (const char* name : {"append_frozen", "ins_quant_a8bit", "append_errors",
                           "cat_tti_batch1_fullT", "insert_index_0"}) {
    CAPTURE(name);
    const Tape tape = logged(name);
    write_tape(tape, path.string(), {.force = true});
    const Tape again = read_tape(path.string());
    CHECK(first_difference(tape, again).value_or("") == "");
    CHECK(again.findings.empty());
    CHECK(replay_operations(again, {.mode = Mode::kFaithful}).success());
    const Dict dict = to_dict(tape, Encoding::kBase64);
    CHECK(first_difference(tape, from_dict<Tape>(dict)).value_or("") == "");
  }
  fs::remove(path);
}

Tensor changed(const Tensor& tensor) {
  const auto old = tensor.source->bytes();
  std::vector<std::byte> bytes(old.begin(), old.end());
  bytes.back() ^= std::byte{1};
  return make_tensor(tensor.dtype, tensor.axes, std::move(bytes));
}

Tensor row(const std::vector<std::int32_t>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(std::int32_t));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return make_tensor(DType::kI32,
                     {{AxisKind::kBatch, "batch", std::ssize(numbers)}}, bytes);
}

TEST_CASE("a change in a record is found where it is") {
  Tape tape = logged("cat_prefill_decode");
  auto& result = *tape.trace->operations.at(1).result;
  result.layers.at(0).key = changed(*result.layers.at(0).key);
  const OperationsReport report = replay_operations(tape);
  REQUIRE(report.broken == 1u);
  const OperationOutcome& broken = report.operations[1];
  CHECK(broken.status == Status::kDiffers);
  const auto bad =
      std::find_if(broken.compared.begin(), broken.compared.end(),
                   [](const auto& each) { return !each.first.empty(); });
  REQUIRE(bad != broken.compared.end());
  CHECK(bad->object == "/trace/operations/1/result/layers/0/key");
  CHECK(bad->differing == 1);
  CHECK_THAT(bad->first,
             Catch::StartsWith("row 2 position 5 head 1 dim 2: expected"));
}

TEST_CASE("each part of a record is compared") {
  const auto spoil = [](auto&& change) {
    Tape tape = logged("append_frozen");
    change(*tape.trace->operations.at(2).result);
    return replay_operations(tape, {.mode = Mode::kFaithful});
  };
  CHECK(spoil([](OperationResult&) {}).success());
  CHECK(spoil([](auto& r) { r.key = changed(*r.key); }).broken == 2u);
  CHECK(spoil([](auto& r) { r.value = changed(*r.value); }).broken == 2u);
  CHECK(spoil([](auto& r) { r.layers[0].frozen = false; }).broken == 2u);
  CHECK(spoil([](auto& r) { r.layers[3].key = r.key; }).broken == 2u);
  CHECK(spoil([](auto& r) { r.attention_mask = row({1, 1}); }).broken == 2u);
  CHECK(spoil([](auto& r) { r.layers[0].key = r.key; }).broken == 2u);
}

TEST_CASE("what the record says failed has to fail") {
  Tape tape = logged("ins_slot_2");
  tape.trace->operations.at(0).error = "refused";
  const OperationsReport report = replay_operations(tape);
  REQUIRE(report.broken == 0u);
  CHECK(report.operations[0].status == Status::kNotFailed);
}

TEST_CASE("an operation that cannot be done ends the replay") {
  Tape tape = logged("append_frozen");
  tape.trace->operations.at(2).layer = 9;
  const OperationsReport report = replay_operations(tape);
  REQUIRE(report.broken == 2u);
  CHECK(report.operations[2].status == Status::kFailed);
  CHECK(report.operations[2].message ==
        "layer: expected a layer of the cache, found 9");
  CHECK(report.operations[3].status == Status::kNotRun);
  tape.trace->operations.at(0).kind.reset();
  CHECK(replay_operations(tape).broken == 0u);
  tape.trace->operations.clear();
  CHECK_THROWS_AS(replay_operations(tape), Error);
}

// Layers that were written before the failure stay written.
TEST_CASE("an insert of too few layers is a finding of checked mode") {
  Tape tape = logged("ins_slot_2");
  Cache& cache = tape.cache;
  const std::int64_t more = std::ssize(cache.layers);
  cache.layers[more] = cache.layers.at(0);
  Operation& insert = tape.trace->operations.at(0);
  insert.error = "IndexError: list index out of range";
  insert.result->layers[more] = cache.layers.at(more);
  CHECK(replay_operations(tape, {.mode = Mode::kFaithful}).success());
  const OperationsReport report = replay_operations(tape);
  REQUIRE(report.broken == 0u);
  CHECK(report.operations[0].status == Status::kRefused);
  CHECK_THAT(report.operations[0].message,
             Catch::Contains("changed /layers/0/index") &&
                 Catch::Contains("before it failed"));
}

TEST_CASE("the end index of penzai") {
  Tape tape = logged("cat_prefill_decode");
  auto& operations = tape.trace->operations;
  operations.clear();
  operations[5].kind = OperationKind::kSetEndIndex;
  operations[5].end_index = 4;
  OperationsReport report = replay_operations(tape);
  CHECK_FALSE(report.broken);
  CHECK(integers(*report.cache.layers.at(0).index) ==
        std::vector<std::int64_t>{4, 4, 4});
  operations[5].end_index = 7;
  report = replay_operations(tape);
  REQUIRE(report.broken == 0u);
  CHECK(report.operations[0].message ==
        "end_index: expected 0 to 6, found 7; without a word, penzai keeps it, "
        "and moves the next write to stay inside");
  report = replay_operations(tape, {.mode = Mode::kFaithful});
  CHECK_FALSE(report.broken);
}

TEST_CASE("the final cache is compared") {
  Tape tape = logged("cat_prefill_decode");
  const auto& last = *tape.trace->operations.rbegin()->second.result;
  tape.final_state.emplace().layers = last.layers;
  CHECK(replay_operations(tape).success());
  LayerCache& layer = tape.final_state->layers.at(0);
  layer.value = changed(*layer.value);
  const OperationsReport report = replay_operations(tape);
  CHECK_FALSE(report.broken);
  CHECK_FALSE(report.success());
  CHECK(report.final_state.size() == 4);
}

TEST_CASE("numbers that the systems cannot hold are refused") {
  for (const std::int64_t number :
       {std::int64_t{1} << 31, std::int64_t{-1} << 40, INT64_MAX, INT64_MIN}) {
    for (const char* name : {"ins_slot_2", "cat_prefill_decode"})
      for (const Mode mode : {Mode::kChecked, Mode::kFaithful}) {
        Tape tape = logged(name);
        Operation& operation = tape.trace->operations.at(0);
        operation.slot = number;
        operation.query_length = number;
        const OperationsReport report = replay_operations(tape, {.mode = mode});
        REQUIRE(report.broken == 0u);
        CHECK(report.operations[0].status == Status::kFailed);
      }
  }
}

TEST_CASE("a mask too large for any memory is refused") {
  Tape tape = logged("cat_prefill_decode");
  tape.trace->operations.at(0).query_length = INT32_MAX;
  const OperationsReport report =
      replay_operations(tape, {.mode = Mode::kFaithful});
  REQUIRE(report.broken == 0u);
  CHECK_THAT(report.operations[0].message,
             Catch::Contains("mask: expected at most"));
}

TEST_CASE("a tensor that contradicts itself is an error, not a crash") {
  Tape tape = logged("cat_prefill_decode");
  tape.trace->operations.at(0).key->axes[0].size = 1 << 20;
  CHECK_THROWS_AS(replay_operations(tape), Error);
  tape = logged("cat_prefill_decode");
  tape.cache.layers.at(0).value->axes[1].size = 3;
  CHECK_THROWS_AS(replay_operations(tape), Error);
}

}  // namespace
}  // namespace kvtape
