// The text of `convert`.
#include "report/convert.h"

#include <catch2/catch.hpp>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("convert says what it wrote") {
  CHECK(convert_text(samples::conversion(), {}) ==
        "wrote run.json: 3 layers, f16, 31.4 MB\n");
  CHECK(convert_text(samples::conversion(), {.verbosity = 1}) ==
        "wrote run.json: 3 layers, f16, 31.4 MB\n"
        "  digests     14 of the input checked\n");
}

TEST_CASE("convert says all that is lost") {
  ConvertReport report = samples::lossy_conversion();
  report.output = "half.h5";
  CHECK(
      convert_text(report, {}) ==
      R"(wrote half.h5: 3 layers, 8bit of bf16, f32 -> f16, axes batch,head,position,dim, set frozen=1, 31.4 MB
  rounding    1,200,000 of 1,234,567 values changed, 3 became 0
  overflow    ! 2 values became infinite, first /layers/2/value [1, 0, 0, 5]: 1e+06 -> Infinity
  largest     2.50e-01 at /layers/1/key [0, 3, 1, 2]: 1000.25 -> 1000
  left out    /trace/operations, /notes
)");
}

}  // namespace
}  // namespace kvtape
