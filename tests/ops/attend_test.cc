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
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    Owned owned;
    make_problem(seed, {.slots = seed % 50 == 0 ? 1200 : 100}, owned);
    const auto actual = attended(owned.problem, kernels::active(), pool);
    const auto expected = attend64(owned.problem, owned.key, owned.value);
    const double error = distance(actual, expected, largest(owned.value));
    INFO("seed " << seed << ": " << describe(owned));
    REQUIRE(error < 4e-6);
    worst = std::max(worst, error);
  }
  CHECK(worst > 1e-9);  // the comparison sees differences
}

TEST_CASE("kernels agree to the bit", "[parity]") {
  if (!kernels::has_avx2(kernels::native_cpu())) return;
  ThreadPool pool(1);
  std::int64_t problems = 0;
  for (std::uint64_t seed = 10000; seed < 30100; ++seed, ++problems) {
    Owned owned;
    Limits limits{.slots = 70, .tokens = 4};
    if (seed % 10 == 0) limits.slots = 200;
    if (seed % 100 == 0) limits = {.slots = 1600, .tokens = 24};
    make_problem(seed, limits, owned);
    const auto scalar = attended(owned.problem, kernels::kScalar, pool);
    const auto avx2 = attended(owned.problem, kernels::kAvx2, pool);
    if (!same_bits(scalar, avx2)) FAIL(seed << ": " << describe(owned));
  }
  CHECK(problems >= 20000);
}

TEST_CASE("attend does not depend on threads", "[attend]") {
  ThreadPool one(1);
  ThreadPool two(2);
  ThreadPool eight(8);
  for (std::uint64_t seed = 5000; seed < 5060; ++seed) {
    Owned owned;
    make_problem(seed, {.slots = 2000, .dims = 32}, owned);
    INFO("seed " << seed << ": " << describe(owned));
    const auto expected = attended(owned.problem, kernels::active(), one);
    REQUIRE(
        same_bits(attended(owned.problem, kernels::active(), two), expected));
    REQUIRE(
        same_bits(attended(owned.problem, kernels::active(), eight), expected));
  }
}

TEST_CASE("attend does not depend on the split into calls", "[attend]") {
  ThreadPool pool(1);
  for (std::uint64_t seed = 6000; seed < 6060; ++seed) {
    Owned owned;
    make_problem(seed, {.slots = 600, .tokens = 20, .dims = 24}, owned);
    INFO("seed " << seed << ": " << describe(owned));
    const auto expected = attended(owned.problem, kernels::active(), pool);
    std::vector<float> actual;
    for (std::size_t token = 0; token < owned.tokens.size(); ++token) {
      AttendProblem one = owned.problem;
      one.tokens = one.tokens.subspan(token, 1);
      one.query += static_cast<std::int64_t>(token) *
                   one.attention.query_heads * one.key_dim;
      const auto part = attended(one, kernels::active(), pool);
      actual.insert(actual.end(), part.begin(), part.end());
    }
    REQUIRE(same_bits(actual, expected));
  }
}

}  // namespace kvtape
