// The text and the picture of `replay`.
#include "report/replay.h"

#include <catch2/catch.hpp>

#include "report/svg.h"
#include "samples.h"

namespace kvtape {
namespace {

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST_CASE("replay shows the steps around the first failure") {
  CHECK(
      replay_text(samples::replay(12, 128, 101), "run42.h5",
                  {.unicode = true}) ==
      R"(run42.h5: replayed 128 steps x 12 layers x 32 query heads: 18 steps out of tolerance
  first, worst  step 102 (position 113): layer 6 query head 14 dim 2
                expected 0.412109, actual 0.418909, error 6.80e-03 (allowed 4.22e-04)
  compared      1,572,864 values, 54 out of tolerance
  tolerance     rtol 0.001, atol 1e-05 (default for f16)
  recomputed    attention output, in f32, from the trace's queries and the cache
  error         2e-06 ▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃███████ 7e-03 by step, log scale

  step   max abs  worst                               out
   100  2.10e-05  layer 11 query head 14 dim 2
   101  2.12e-05  layer 11 query head 14 dim 2
   102  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
   103  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
   105  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
   106  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
   108  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
   109  6.80e-03  layer 6 query head 14 dim 2   ✗  0.024%
  ... 120 more (-v for all)
)");
}

TEST_CASE("replay of a good trace is short") {
  CHECK(
      replay_text(samples::replay(2, 9, -1), "run42.h5", {}) ==
      R"(run42.h5: replayed 9 steps x 2 layers x 32 query heads: all within tolerance
  worst       step 8 (position 19): layer 1 query head 14 dim 2
              expected 0.412109, actual 0.412112, error 2.60e-06 (allowed 4.22e-04)
  compared    18,432 values, none out of tolerance
  tolerance   rtol 0.001, atol 1e-05 (default for f16)
  recomputed  attention output, in f32, from the trace's queries and the cache
  error       1e-06 ....::::: 1e-04 by step, log scale
)");
}

TEST_CASE("replay -v tells everything that is wrong") {
  CHECK(
      replay_text(samples::troubled_replay(), "run42.h5", {.verbosity = 1}) ==
      R"(run42.h5: replayed 9 steps x 2 layers x 32 query heads: 2 steps out of tolerance, final state differs, 2 parts not compared, 1 error
  first         step 6 (position 17): layer 1 row 0 query head 14 dim 2
                expected 0.412109, actual 0.418909, error 6.80e-03 (allowed 4.22e-04)
  worst         step 7 (position 18): layer 1 row 0 query head 14 dim 2
                expected 0.412109, actual NaN, error NaN (allowed 4.22e-04)
  compared      18,432 values, 6 out of tolerance
  tolerance     rtol 0, atol 0.0001
  recomputed    attention output, in f32, from the trace's queries and the cache
  faithful      writes beyond the cache as the system does
  error         1e-06 ......@X  7e-03 by step, log scale
  growth        error doubles about every 21.3 steps
  not compared  /trace/layers/1/output: absent

  step   max abs  worst                                   out
     0  1.00e-06  layer 1 row 0 query head 14 dim 2
     1  1.20e-06  layer 1 row 0 query head 14 dim 2
     2  1.40e-06  layer 1 row 0 query head 14 dim 2
     3  1.60e-06  layer 1 row 0 query head 14 dim 2
     4  1.80e-06  layer 1 row 0 query head 14 dim 2
     5  2.00e-06  layer 1 row 0 query head 14 dim 2
     6  6.80e-03  layer 1 row 0 query head 14 dim 2  !  0.15%
     7       NaN  layer 1 row 0 query head 14 dim 2  !  0.15%
     8         -  not compared

  layer   max abs  worst                                    out
      0  1.30e-06  layer 0 row 0 query head 14 dim 2
      1  6.80e-03  layer 1 row 0 query head 14 dim 2  !  0.065%

  error   E50 /trace step 8  write: expected slots 19..19 below 19, found clamped to 18

  final state: 1 of 3 tensors equal, bit for bit
  /final/layers/0/key: equal
  /final/layers/0/value: 2 of 512 values differ (0.39%), first at row 0 position 5 head 1 dim 2
  /final/layers/1/key: not compared: shapes differ
)");
}

TEST_CASE("what could not be compared is never success") {
  ReplayReport report = samples::replay(1, 2, -1);
  report.not_compared = {samples::hostile_name()};
  CHECK_THAT(replay_text(report, "a", {}),
             Catch::Contains("query heads: 1 part not compared\n"));
  report = samples::replay(1, 2, -1);
  report.final_state = {{"/final/layers/0/key", 0, 0, "absent"}};
  CHECK_THAT(replay_text(report, "a", {}),
             Catch::Contains("query heads: 1 part not compared\n"));
  report = ReplayReport{};
  CHECK_THAT(replay_text(report, "a", {}),
             Catch::Contains("query heads: no output compared\n"));
}

TEST_CASE("replay says when only some steps were compared") {
  ReplayReport report = samples::replay(1, 4, -1);
  report.steps = 10;
  CHECK_THAT(replay_text(report, "a", {}),
             Catch::Contains("none out of tolerance (steps 0 to 3 only)\n"));
}

TEST_CASE("the picture has a line for each layer, the worst in bold") {
  const std::string svg = replay_svg(samples::replay(32, 200, 150), "a.h5");
  CHECK(occurrences(svg, "<polyline") == 32);
  CHECK(occurrences(svg, "stroke-width=\"2.5\"") == 2);  // and in the legend
  CHECK_THAT(svg, Catch::Contains("first out of tolerance: step 150"));
  CHECK_THAT(svg, Catch::Contains("allowed 4.2e-04"));
  CHECK_THAT(svg, Catch::Contains("<title>layer 31: worst"));
  CHECK(svg == replay_svg(samples::replay(32, 200, 150), "a.h5"));
}

TEST_CASE("the picture marks what is no number and keeps zeros on the floor") {
  CHECK(occurrences(replay_svg(samples::troubled_replay(), "a"), ">NaN<") == 1);
  ReplayReport exact = samples::replay(1, 3, -1);
  exact.errors = {{0, 0, 0}};
  CHECK_THAT(replay_svg(exact, "a"),
             Catch::Contains("points=\"70.0,392.0 355.0,392.0 640.0,392.0\""));
}

TEST_CASE("the picture stays small however long the trace") {
  CHECK(replay_svg(samples::replay(6, 20000, -1), "a").size() < 80'000);
}

TEST_CASE("svg text cannot leave its element") {
  CHECK(svg_escaped("a<b>&\"c\"\x1b") == "a&lt;b&gt;&amp;&quot;c&quot;\\x1b");
}

}  // namespace
}  // namespace kvtape
