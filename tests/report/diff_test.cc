// The text of `diff`.
#include "report/diff.h"

#include <catch2/catch.hpp>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("a diff within tolerance is one line") {
  CHECK(
      diff_text(samples::difference(1), {"a.h5", "b.h5"}, {}) ==
      R"(a.h5 b.h5: same: within tolerance, worst 1.28e-04 at layer 0 key row 0 position 17 head 7 dim 4
)");
  CHECK(diff_text({}, {"a.h5", "a.h5"}, {}) ==
        R"(a.h5 a.h5: identical: no values
)");
}

TEST_CASE("a diff shows where, how large, and which heads") {
  CHECK(diff_text(samples::difference(4), {"ref.h5", "test.h5"},
                  {.unicode = true}) ==
        R"(ref.h5 test.h5: different: 2 of 64 heads out of tolerance
  first, worst  layer 2 value row 0 position 17 head 3 dim 4
                expected 0.0553589, actual 0.305359, error 2.50e-01 (allowed 6.50e-05)
  compared      262,144 values, 10 out of tolerance (0.0038%), 57,600 with other bits
  rule          rtol 0.001, atol 1e-05 (default for f16)
  verdict       structural: the worst token is off by 9.00e-01 of its length (layer 2 value head 3), rounding makes up to 7.81e-03

  layer  kind   head  mismatched   max abs   max rel  max ulp  SQNR dB    cosine  first bad
      2  value     3   5 / 4,096  2.50e-01  4.50e+00      2.5     48.2  0.250000         17
      3  value     3   5 / 4,096  2.50e-01  4.50e+00      2.5     48.2  0.250000         17

  key: max |actual - expected|, heads 0 to 7
   layer   0 ▕░░░░░░░░▒▒▒▒▒▒▓▓▏ 1.28e-04
   layer   1 ▕░░░░░░▒▒▒▒▒▒▓▓░░▏ 1.28e-04
   layer   2 ▕░░░░▒▒▒▒▒▒▓▓░░░░▏ 1.28e-04
   layer   3 ▕░░▒▒▒▒▒▒▓▓░░░░░░▏ 1.28e-04

  value: max |actual - expected|, heads 0 to 7
   layer   0 ▕░░░░░░░░▒▒▒▒▒▒▓▓▏ 1.28e-04
   layer   1 ▕░░░░░░▒▒▒▒▒▒▓▓░░▏ 1.28e-04
   layer   2 ▕░░░░▒▒██▒▒▓▓░░░░▏ 2.50e-01 ✗
   layer   3 ▕░░▒▒▒▒██▓▓░░░░░░▏ 2.50e-01 ✗
   0 exact  · <1e-6  ░ <1e-5  ▒ <1e-4  ▓ in tolerance  █ out  N non-finite
)");
}

TEST_CASE("a diff tells everything that is wrong") {
  CHECK(
      diff_text(samples::troubled_difference(), {"a.h5", "b.h5"}, {}) ==
      R"(a.h5 b.h5: different: 3 of 48 heads out of tolerance, 1 field, 1 tensor beside the cache, 3 parts not compared
  first, worst  layer 1 value row 0 position 17 head 3 dim 4
                expected 0.0553589, actual 0.305359, error 2.50e-01 (allowed 6.50e-05)
  compared      196,608 values, 10 out of tolerance (0.0051%), 43,200 with other bits, slots aligned by end
  rule          rtol 0.001, atol 1e-05 (default for f16)
  not finite    expected 0 NaN, 0 Inf; actual 2 NaN, 0 Inf
  verdict       structural: the worst token is off by 9.00e-01 of its length (layer 1 value head 3), rounding makes up to 7.81e-03
  cause         heads-permuted or heads-tiled: a\x1b[2J\u202e\xff"<&\x0a
  attention     not compared: /trace/layers/1: cannot be replayed
  attention     outputs over both caches: 1 of 2 query heads out of tolerance, largest error 2.50e-01 at layer 1 query head 5
  beside it     1 of 2 tensors of the trace and the state after it out of tolerance, largest error 2.50e-01 in /trace/layers/1/output

  not compared
  /layers/3 and 1 more: only in the expected cache
  /layers/0/key: a\x1b[2J\u202e\xff"<&\x0a

  field       expected  actual  of
  batch_size  2         1       /metadata

  layer  kind   head  mismatched   max abs   max rel  max ulp  SQNR dB    cosine  first bad
      0  key       5   2 / 4,096  3.20e-05  4.50e+00      2.5    126.0  0.999999          -
      1  value     3   5 / 4,096  2.50e-01  4.50e+00      2.5     48.2  0.250000         17
      2  value     3   5 / 4,096  2.50e-01  4.50e+00      2.5     48.2  0.250000         17

  differs, not in meaning  expected                   actual  of
  source                   a\x1b[2J\u202e\xff"<&\x0a  -       a\x1b[2J\u202e\xff"<&\x0a

  key: max |actual - expected|, heads 0 to 7
   layer   0 |::::::::++NN00**| NaN !
   layer   1 |::::::++++++**::| 1.28e-04
   layer   2 |::::++++++**::::| 1.28e-04

  value: max |actual - expected|, heads 0 to 7
   layer   0 |::::::::++++++**| 1.28e-04
   layer   1 |::::::##++++**::| 2.50e-01 !
   layer   2 |::::++##++**::::| 2.50e-01 !
   0 exact  . <1e-6  : <1e-5  + <1e-4  * in tolerance  # out  N non-finite
)");
  CHECK(explain_text(*samples::troubled_difference().explanation) ==
        R"(
  explained, what is left of |actual| (rounding: 7.81e-03)
  cause           median left  worst left  detail
  heads-permuted     1.00e-04    2.00e-04  a\x1b[2J\u202e\xff"<&\x0a
  position-shift     1.40e+00    Infinity  by +1
)");
}

TEST_CASE("a map of many heads and layers fits the terminal") {
  DiffReport report = samples::difference(80);
  for (DiffCell& cell : report.cells)
    if (cell.layer < 76) cell.stats.mismatched = 0;
  CHECK(diff_map(report, {.width = 36}) ==
        R"(
  key: max |actual - expected|, heads 0 to 7
   all 80 layers in tolerance (-v for all)

  value: max |actual - expected|, heads 0 to 7
   layer  75 |::++++****::::::| 2.50e-01
   layer  76 |++++++##::::::::| 2.50e-01 !
   layer  77 |++++**##::::::++| 2.50e-01 !
   layer  78 |++**::##::::++++| 2.50e-01 !
   layer  79 |**::::##::++++++| 2.50e-01 !
   ... 75 more layers (-v for all)
   0 exact  . <1e-6  : <1e-5  + <1e-4  * in tolerance  # out  N non-finite
)");
}

}  // namespace
}  // namespace kvtape
