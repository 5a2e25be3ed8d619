// Attention against float64, against the other kernels, and against itself
// with other threads and calls.
#include "ops/attend.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "kernels/dispatch.h"
#include "ops/attend_problems.h"

namespace kvtape {
namespace {

using test::attend64;
using test::attended;
using test::describe;
using test::Limits;
using test::make_problem;
using test::Owned;

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double largest(const test::Stored& stored) {
  double max = 0;
  for (double x : stored.numbers)
    if (std::isfinite(x)) max = std::max(max, std::fabs(x));
  return max;
}

// Largest difference relative to the largest value; infinite where only one
// of both is finite or NaN. An infinite weight of Inf is NaN in one and Inf
// in the other, so both count as "not finite".
double distance(const std::vector<float>& actual,
                const std::vector<double>& expected, double unit) {
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto x = static_cast<double>(actual[i]);
    if (!std::isfinite(x) && !std::isfinite(expected[i])) continue;
    const double difference = std::fabs(x - expected[i]) / unit;
    worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, difference);
  }
  return worst;
}

}  // namespace

TEST_CASE("attend agrees with float64", "[attend]") {
  ThreadPool pool(2);
  double worst = 0;
  for (std::uint64_t seed = 1; seed <= 1200; ++seed) {
    Owned owned;
    make_problem(seed, {.slots = seed % 20 == 0 ? 1500 : 150}, owned);
    const auto actual = attended(owned.problem, kernels::active(), pool);
    const auto expected = attend64(owned.problem, owned.key, owned.value);
    const double error = distance(actual, expected, largest(owned.value));
    INFO("seed " << seed << ": " << describe(owned));
    REQUIRE(error < 4e-6);
    worst = std::max(worst, error);
  }
  CHECK(worst > 1e-9);  // the comparison sees differences
}

}  // namespace kvtape
