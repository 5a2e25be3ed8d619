// Widening, narrowing and scanning against plain arithmetic with ldexp.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

constexpr Element kElements[] = {Element::kF64, Element::kF32, Element::kF16,
                                 Element::kBF16};

// A 16-bit number by its definition.
double from_fields(std::uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> fraction_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0)
    return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1 << fraction_bits),
                           exponent - bias - fraction_bits);
}

int exponent_bits(Element element) { return element == Element::kF16 ? 5 : 8; }

std::vector<std::uint16_t> all_patterns() {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<std::uint16_t>(i);
  return all;
}

const std::byte* bytes_of_all(const std::vector<std::uint16_t>& all) {
  return reinterpret_cast<const std::byte*>(all.data());
}

std::uint16_t narrow_one(double x, Element element) {
  std::uint16_t bits = 0;
  active().narrow_f64(&x, 1, element, reinterpret_cast<std::byte*>(&bits));
  return bits;
}

}  // namespace

TEST_CASE("all 16-bit numbers widen and come back", "[convert]") {
  const auto all = all_patterns();
  for (const Element element : {Element::kF16, Element::kBF16}) {
    std::vector<float> wide(all.size());
    active().widen(bytes_of_all(all), element, 1, 65536, wide.data());
    std::vector<std::uint16_t> back(all.size());
    active().narrow_f32(wide.data(), 65536, element,
                        reinterpret_cast<std::byte*>(back.data()));
    const std::uint16_t quiet = element == Element::kF16 ? 0x200 : 0x40;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double expected = from_fields(all[i], exponent_bits(element));
      const auto actual = static_cast<double>(wide[i]);
      if (std::isnan(expected)) {
        REQUIRE(std::isnan(actual));
        REQUIRE(back[i] == (all[i] | quiet));
        continue;
      }
      REQUIRE(std::bit_cast<std::uint64_t>(actual) ==
              std::bit_cast<std::uint64_t>(expected));
      REQUIRE(back[i] == all[i]);
    }
  }
}

TEST_CASE("narrowing takes the nearest, ties to even", "[convert]") {
  for (const Element element : {Element::kF16, Element::kBF16}) {
    const int width = exponent_bits(element);
    const std::uint16_t largest = element == Element::kF16 ? 0x7bff : 0x7f7f;
    for (std::uint16_t bits = 0; bits < largest; ++bits) {
      const double below = from_fields(bits, width);
      const double above =
          from_fields(static_cast<std::uint16_t>(bits + 1), width);
      const double middle = (below + above) / 2;
      const auto even = static_cast<std::uint16_t>(bits + (bits & 1));
      REQUIRE(narrow_one(middle, element) == even);
      REQUIRE(narrow_one(-middle, element) == (even | 0x8000));
      // One double off the middle: rounding through float would lose it.
      REQUIRE(narrow_one(std::nextafter(middle, 0), element) == bits);
      REQUIRE(narrow_one(std::nextafter(middle, HUGE_VAL), element) ==
              bits + 1);
    }
    const double step =
        from_fields(largest, width) -
        from_fields(static_cast<std::uint16_t>(largest - 1), width);
    const double limit = from_fields(largest, width) + step / 2;
    CHECK(narrow_one(limit, element) == largest + 1);
    CHECK(narrow_one(std::nextafter(limit, 0), element) == largest);
    CHECK(narrow_one(-HUGE_VAL, element) == (0x8000 | (largest + 1)));
    CHECK(narrow_one(1e300, element) == largest + 1);
    CHECK(narrow_one(5e-324, element) == 0);
    CHECK(narrow_one(-5e-324, element) == 0x8000);
  }
}

TEST_CASE("a double becomes a float in one rounding", "[convert]") {
  const double data[] = {1 + 0x1p-24 + 0x1p-52, 1e39, -0.0, 0x1p-150};
  float out[4];
  active().narrow_f64(data, 4, Element::kF32,
                      reinterpret_cast<std::byte*>(out));
  CHECK(out[0] == 1 + 0x1p-23F);
  CHECK(out[1] == HUGE_VALF);
  CHECK(std::signbit(out[2]));
  CHECK(out[3] == 0);
  float wide[4];
  active().widen(reinterpret_cast<const std::byte*>(data), Element::kF64, 1, 4,
                 wide);
  CHECK(std::memcmp(wide, out, sizeof(out)) == 0);
}

TEST_CASE("conversions of both kernels agree to the bit", "[convert]") {
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    const auto count = static_cast<std::int64_t>(random() % 70);
    std::vector<std::byte> data(static_cast<std::size_t>(count * 8 * 3 + 1));
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    const std::byte* at = data.data() + 1;
    for (const Element element : kElements) {
      const std::int64_t stride = round % 2 == 0 ? 1 : 3;
      std::vector<float> a(static_cast<std::size_t>(count + 1));
      std::vector<float> b(a);
      kScalar.widen(at, element, stride, count, a.data());
      active().widen(at, element, stride, count, b.data());
      CHECK(std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
      std::vector<std::byte> c(a.size() * 8);
      std::vector<std::byte> d(c);
      kScalar.narrow_f32(a.data(), count, element, c.data());
      active().narrow_f32(a.data(), count, element, d.data());
      CHECK(c == d);
      CHECK(kScalar.scan(at, element, count) ==
            active().scan(at, element, count));
    }
  }
}

TEST_CASE("scan counts what is there", "[scan]") {
  for (const Element element : kElements) {
    const std::int64_t size = bytes_of(element);
    for (std::int64_t count : {0, 1, 7, 64, 1000}) {
      std::vector<double> numbers(static_cast<std::size_t>(count), 0.0);
      std::vector<std::byte> data(static_cast<std::size_t>(count * size));
      const auto scan = [&] {
        active().narrow_f64(numbers.data(), count, element, data.data());
        return active().scan(data.data(), element, count);
      };
      const Scan zeros = scan();
      CHECK((zeros.nan == 0 && zeros.inf == 0 && !zeros.nonzero));
      if (count == 0) continue;
      numbers.back() = -0.0;
      const Scan minus = scan();
      CHECK_FALSE(minus.nonzero);
      CHECK(minus.hash != zeros.hash);
      numbers.back() = 1e-7;
      CHECK(scan().nonzero);
      numbers.front() = HUGE_VAL;
      numbers.back() = -HUGE_VAL;
      CHECK(scan().inf == (count == 1 ? 1 : 2));
      numbers.back() = std::nan("");
      CHECK(scan().nan == 1);
      CHECK(scan().inf == (count == 1 ? 0 : 1));
    }
  }
}

TEST_CASE("the hash sees order, signs and length", "[scan]") {
  const auto hash = [](const std::vector<float>& data) {
    return active()
        .scan(reinterpret_cast<const std::byte*>(data.data()), Element::kF32,
              std::ssize(data))
        .hash;
  };
  std::vector<float> data(128);
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<float>(i) * 0.5F + 1;
  const std::uint64_t plain = hash(data);
  CHECK(hash(data) == plain);
  auto negative = data;
  for (float& x : negative) x = -x;
  CHECK(hash(negative) != plain);
  for (std::size_t i = 0; i + 16 < data.size(); ++i)
    for (const std::size_t step : {1U, 16U}) {
      auto swapped = data;
      std::swap(swapped[i], swapped[i + step]);
      CHECK(hash(swapped) != plain);
      auto signs = data;
      signs[i] = -signs[i];
      signs[i + step] = -signs[i + step];
      CHECK(hash(signs) != plain);
    }
  auto longer = data;
  longer.push_back(0);
  CHECK(hash(longer) != plain);
  CHECK(hash(std::vector<float>(3)) != hash(std::vector<float>(4)));
}

}  // namespace kvtape::kernels
