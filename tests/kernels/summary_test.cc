// Summaries against sums in long double, and against other cuts of the same
// numbers.
#include "kernels/summary.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/elements.h"

namespace {

using namespace kvtape::kernels;

std::vector<double> normal(std::size_t count, double mean, double spread) {
  std::mt19937_64 random(count);
  std::normal_distribution<double> distribution(mean, spread);
  std::vector<double> values(count);
  for (double& value : values) value = distribution(random);
  return values;
}

Summary summary_of(const std::vector<double>& values) {
  Summarizer summarizer;
  summarizer.add(values.data(), std::ssize(values));
  return summarizer.total();
}

struct Reference {
  std::int64_t finite = 0;
  long double mean = 0;
  long double std = 0;
};

Reference reference(const std::vector<double>& values) {
  Reference result;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    ++result.finite;
    result.mean += static_cast<long double>(value);
  }
  result.mean /= static_cast<long double>(result.finite);
  for (const double value : values)
    if (std::isfinite(value))
      result.std += std::pow(static_cast<long double>(value) - result.mean, 2);
  result.std = std::sqrt(result.std / static_cast<long double>(result.finite));
  return result;
}

void check(const std::vector<double>& values, double tolerance = 1e-12) {
  const Summary found = summary_of(values);
  const Reference expected = reference(values);
  CHECK(found.count == std::ssize(values));
  CHECK(found.finite() == expected.finite);
  const auto mean = static_cast<double>(expected.mean);
  const auto std = static_cast<double>(expected.std);
  CHECK(std::fabs(found.mean() - mean) <= 1e-14 * (std::fabs(mean) + std));
  CHECK(found.std() == Approx(std).epsilon(tolerance));
}

}  // namespace

TEST_CASE("mean and spread are those of long double") {
  for (const std::size_t count : {1U, 7U, 1023U, 1024U, 1025U, 100'003U})
    check(normal(count, 0, 1));
  check(normal(50'000, 1e6, 1e-3), 1e-8);  // a mean that hides its spread
}

TEST_CASE("counts and extremes of a block with everything in it") {
  for (const std::size_t count : {10U, 1024U, 5000U}) {
    std::vector<double> values = normal(count, 3, 1);
    values[0] = 0;
    values[1] = -0.0;
    values[2] = -7;
    values[3] = 99;
    CHECK(summary_of(values).zeros == 2);
    values[5] = std::nan("");
    values[6] = -INFINITY;
    values[7] = INFINITY;
    const Summary found = summary_of(values);
    CHECK(found.zeros == 2);
    CHECK(found.nan == 1);
    CHECK(found.inf == 2);
    CHECK(found.min == -7);
    CHECK(found.max == 99);
    check(values);
  }
}

TEST_CASE("nothing finite") {
  const Summary found = summary_of(std::vector<double>(2000, NAN));
  CHECK(found.nan == 2000);
  CHECK(found.finite() == 0);
  CHECK(found.min > found.max);
  CHECK(summary_of({}) == Summary{});
}

TEST_CASE("large numbers are not taken for infinities") {
  const Summary found = summary_of(std::vector<double>(1024, 1e308));
  CHECK(found.inf == 0);
  CHECK(found.max == 1e308);
}

TEST_CASE("the same however the numbers are cut") {
  std::vector<double> values = normal(20'011, 0.5, 2);
  values[4321] = NAN;
  const Summary whole = summary_of(values);
  for (const std::int64_t step : {1, 3, 1000, 1024, 4097}) {
    Summarizer summarizer;
    for (std::int64_t at = 0; at < std::ssize(values); at += step)
      summarizer.add(values.data() + at,
                     std::min(step, std::ssize(values) - at));
    CHECK(summarizer.total() == whole);
  }
}

TEST_CASE("a block is the same on the fast way and on the slow one") {
  // One more number, a NaN, takes the block's place in the lanes of nothing.
  std::vector<double> values = normal(1024, 0, 1);
  values[1023] = 0;
  const Summary fast = summary_of(values);
  values[1023] = NAN;
  const Summary slow = summary_of(values);
  CHECK(fast.sum == slow.sum);
  CHECK(fast.min == slow.min);
  CHECK(fast.max == slow.max);
}

TEST_CASE("16-bit floats are widened exactly") {
  std::vector<std::uint16_t> halves;
  std::vector<double> values;
  for (std::uint16_t bits = 0; bits < 0x7c00; ++bits) {
    halves.push_back(bits);
    values.push_back(static_cast<double>(from_f16(bits)));
  }
  Summarizer summarizer;
  summarizer.add(reinterpret_cast<const std::byte*>(halves.data()),
                 Element::kF16, std::ssize(halves));
  CHECK(summarizer.total() == summary_of(values));
}
