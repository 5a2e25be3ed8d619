// The text of replayed operation logs.
#include "report/operations.h"

#include <catch2/catch.hpp>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("the first operation that broke is told, with where it differs") {
  CHECK(
      operations_text(samples::troubled_operations(), "log.json", {}) ==
      R"(log.json: replayed 8 operations: operation 3 (insert) differs, 1 not run
  differs   /trace/operations/3/result/layers/0/key: 2 of 96 values differ, first at row 0 position 3 head 1 dim 2: expected 1, found 2
  differs   /trace/operations/3/result/attention_mask: not compared: dtype: expected i64, found i32
  differs   /final/layers/0/key: not compared: shape: expected [1], found [2]
  compared  4 tensors, 1 equal bit for bit

  operation  what           layer   equal  outcome
          1  freeze           all          done
          2  insert           all          as recorded
          3  insert           all  0 of 2  differs
          4  insert_index     all          did not fail
          5  insert_starts    all          refused
          6  ?                all          failed
          7  set_end_index    all          not run
  ... 1 more (-v for all)
)");
}

TEST_CASE("a good log is short, and long with -v") {
  OperationsReport report = samples::troubled_operations();
  report.operations.resize(2);
  report.broken.reset();
  report.final_state.clear();
  REQUIRE(report.success());
  CHECK(operations_text(report, "log.json", {}) ==
        R"(log.json: replayed 2 operations: all as recorded
  compared  1 tensor, 1 equal bit for bit
)");
  CHECK(operations_text(report, "log.json", {.verbosity = 1}) ==
        R"(log.json: replayed 2 operations: all as recorded
  compared  1 tensor, 1 equal bit for bit

  operation  what    layer   equal  outcome
          0  append      1  1 of 1  as recorded
          1  freeze    all          done
)");
}

TEST_CASE("a log without a record is no success") {
  OperationsReport report = samples::troubled_operations();
  report.operations.erase(report.operations.begin());
  report.operations.resize(1);
  report.broken.reset();
  report.final_state.clear();
  CHECK_FALSE(report.success());
  CHECK_THAT(operations_text(report, "log.json", {}),
             Catch::Contains("nothing was recorded to compare with"));
}

}  // namespace
}  // namespace kvtape
