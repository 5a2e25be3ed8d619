// Differences against a plain reference in long double, the fast way against
// the slow one, and single numbers exhaustively.
#include "kernels/difference.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/elements.h"

namespace {

using namespace kvtape::kernels;
using Rule = Allowance::Rule;

struct Pairs {
  std::vector<double> expected;
  std::vector<double> actual;
};

Pairs random_pairs(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto padded = static_cast<std::size_t>(padded_run(count));
  Pairs pairs{std::vector<double>(padded), std::vector<double>(padded)};
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const auto number = static_cast<float>(normal(random));
    const auto other = static_cast<float>(number * (1 + normal(random) * 1e-3));
    pairs.expected[i] = random() % 16 == 0 ? 0 : static_cast<double>(number);
    pairs.actual[i] =
        random() % 4 == 0 ? pairs.expected[i] : static_cast<double>(other);
    if (random() % 32 == 0) pairs.actual[i] = -pairs.expected[i];
  }
  return pairs;
}

const std::vector<Allowance> kAllowances{
    {.rule = Rule::kTolerance, .rtol = 1e-3, .atol = 1e-5},
    {.rule = Rule::kTolerance, .rtol = 0, .atol = 0},
    {.rule = Rule::kUlps, .ulps = 3, .ulp_of = Element::kF16},
    {.rule = Rule::kUlps, .ulps = 0.5, .ulp_of = Element::kBF16},
    {.rule = Rule::kBits, .ulp_of = Element::kF64}};

}  // namespace

TEST_CASE("the fast difference has the bits of the slow one") {
  for (const Allowance& allowance : kAllowances)
    for (const std::int64_t count : {0, 1, 7, 8, 9, 64, 80, 128, 1001}) {
      const Pairs pairs = random_pairs(count, 7);
      const auto fast = finite_difference(
          pairs.expected.data(), pairs.actual.data(), count, allowance);
      REQUIRE(fast);
      CHECK(*fast == difference(pairs.expected.data(), pairs.actual.data(),
                                count, allowance));
    }
}

TEST_CASE("a difference is what its definition says") {
  const std::int64_t count = 500;
  const Pairs pairs = random_pairs(count, 3);
  const Allowance allowance{.rtol = 1e-3, .atol = 1e-5};
  const Difference found =
      difference(pairs.expected.data(), pairs.actual.data(), count, allowance);
  std::int64_t mismatched = 0;
  std::int64_t differing = 0;
  long double squared_error = 0;
  long double product = 0;
  long double max_abs = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const auto e = static_cast<long double>(pairs.expected[i]);
    const auto a = static_cast<long double>(pairs.actual[i]);
    const long double error = std::fabs(a - e);
    mismatched += error > 1e-5L + 1e-3L * std::fabs(e);
    differing += a != e || std::signbit(a) != std::signbit(e);
    squared_error += error * error;
    product += a * e;
    max_abs = std::max(max_abs, error);
  }
  CHECK(mismatched > 0);
  CHECK(found.mismatched == mismatched);
  CHECK(found.differing == differing);
  CHECK(found.squared_error ==
        Approx(static_cast<double>(squared_error)).epsilon(1e-14));
  CHECK(found.product == Approx(static_cast<double>(product)).epsilon(1e-13));
  CHECK(found.max_abs == static_cast<double>(max_abs));
}

TEST_CASE("numbers that are not finite leave the fast way and are counted") {
  const double kInf = std::numeric_limits<double>::infinity();
  const double kNaN = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> expected{kNaN, kNaN, 1, kInf, kInf, -kInf, 2, 3};
  const std::vector<double> actual{kNaN, 1, kNaN, kInf, -kInf, 5, 2, 4};
  Allowance allowance{.rtol = 0.1};
  CHECK(!finite_difference(expected.data(), actual.data(), 8, allowance));
  const Difference found =
      difference(expected.data(), actual.data(), 8, allowance);
  CHECK(found.non_finite == 6);
  CHECK(found.non_finite_mismatched == 4);
  CHECK(found.mismatched == 5);
  CHECK(found.nan_expected == 2);
  CHECK(found.nan_actual == 2);
  CHECK(found.inf_expected == 3);
  CHECK(found.inf_actual == 2);
  CHECK(found.max_abs == 1);
  CHECK(found.squared_expected == 13);
  allowance.nan_differs = true;
  CHECK(difference(expected.data(), actual.data(), 8, allowance).mismatched ==
        6);
}

TEST_CASE("bits tell zeros and NaN payloads apart") {
  const Allowance bits{.rule = Rule::kBits};
  CHECK(mismatches(0.0, -0.0, bits));
  CHECK(!mismatches(0.0, -0.0, Allowance{}));
  const double one = std::bit_cast<double>(0x7ff8000000000001ULL);
  const double two = std::bit_cast<double>(0x7ff8000000000002ULL);
  CHECK(mismatches(one, two, bits));
  CHECK(!mismatches(one, one, bits));
  CHECK(!mismatches(one, two, Allowance{}));
}

TEST_CASE("a unit in the last place is the distance to the next number") {
  for (const float number : {1.0F, 1.5F, 3e-40F, 0.0F, 1e30F, -7.25F}) {
    const float size = std::fabs(number);
    const float next = std::nextafter(size, INFINITY);
    CHECK(ulp_at(static_cast<double>(number), Element::kF32) ==
          static_cast<double>(next) - static_cast<double>(size));
  }
  CHECK(ulp_at(0.0, Element::kF64) == 0x1p-1074);
  // All 16-bit numbers that are finite and positive: the next one.
  for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const auto number = static_cast<double>(from_f16(bits));
    const auto next =
        static_cast<double>(from_f16(static_cast<std::uint16_t>(bits + 1)));
    REQUIRE(ulp_at(number, Element::kF16) == next - number);
  }
  for (std::uint16_t bits = 0; bits < 0x7f7f; ++bits) {
    const auto number = static_cast<double>(from_bf16(bits));
    const auto next =
        static_cast<double>(from_bf16(static_cast<std::uint16_t>(bits + 1)));
    REQUIRE(ulp_at(number, Element::kBF16) == next - number);
  }
}

TEST_CASE("an exact number keeps all bits of all halves") {
  for (const Element element : {Element::kF16, Element::kBF16}) {
    std::vector<double> seen;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      std::array<std::byte, 2> stored{};
      store(stored.data(), static_cast<std::uint16_t>(bits));
      const double number = exact_number(stored.data(), element);
      seen.push_back(number);
      const float widened = element == Element::kF16
                                ? from_f16(static_cast<std::uint16_t>(bits))
                                : from_bf16(static_cast<std::uint16_t>(bits));
      REQUIRE(std::isnan(number) == std::isnan(widened));
      if (!std::isnan(number)) REQUIRE(number == static_cast<double>(widened));
    }
    std::sort(seen.begin(), seen.end(), [](double a, double b) {
      return std::bit_cast<std::uint64_t>(a) < std::bit_cast<std::uint64_t>(b);
    });
    REQUIRE(
        std::adjacent_find(seen.begin(), seen.end(), [](double a, double b) {
          return std::bit_cast<std::uint64_t>(a) ==
                 std::bit_cast<std::uint64_t>(b);
        }) == seen.end());
  }
}

TEST_CASE("every changed bit and every number that is not finite is seen") {
  for (const Element element :
       {Element::kF64, Element::kF32, Element::kF16, Element::kBF16}) {
    const std::int64_t count = 5000 / bytes_of(element) + 3;
    const auto bytes = static_cast<std::size_t>(count * bytes_of(element));
    const std::vector<std::byte> a(bytes, std::byte{0x3c});
    REQUIRE(same_and_finite(a.data(), a.data(), element, count));
    for (std::size_t at = 0; at < bytes; ++at) {
      std::vector<std::byte> b = a;
      b[at] ^= std::byte{0x10};
      REQUIRE(!same_and_finite(a.data(), b.data(), element, count));
    }
    for (std::int64_t at = 0; at < count; at += 7) {
      std::vector<std::byte> wild = a;
      const auto size = static_cast<std::size_t>(bytes_of(element));
      std::fill_n(wild.begin() + at * bytes_of(element), size, std::byte{0xff});
      REQUIRE(!same_and_finite(wild.data(), wild.data(), element, count));
    }
  }
}
