// The written-out functions against libm in long double.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <random>

#include "kernels/dispatch.h"
#include "kernels/elementary.h"
#include "kernels/rotary.h"

namespace kvtape::kernels {
namespace {

// The kernel's 2^t, t <= 0: the weight beside one of 1.
float exp2_kernel(float t) {
  float scores[kScoreStride] = {0.0F, t};
  active().softmax(scores, {.begin = 0, .end = 2}, {.begin = 0, .end = 2}, 0);
  return scores[1];
}

// The kernel's tanh: the maximum of one capped score.
float tanh_kernel(float x) {
  float scores[kScoreStride] = {x};
  return active()
      .softmax(scores, {.begin = 0, .end = 1}, {.begin = 0, .end = 1}, 1)
      .max;
}

long double relative(long double actual, long double expected) {
  return std::fabs((actual - expected) / expected);
}

}  // namespace

TEST_CASE("2^t is right to less than one unit", "[functions]") {
  long double worst = 0;
  for (float t = 0; t >= -126; t -= 0.00137F)
    worst = std::max(worst, relative(static_cast<long double>(exp2_kernel(t)),
                                     std::exp2(static_cast<long double>(t))));
  CHECK(worst < 1.2e-7L);
  CHECK(worst > 0);
  CHECK(exp2_kernel(0) == 1);
  CHECK(exp2_kernel(-1000) == 0x1p-126F);
  CHECK(exp2_kernel(-HUGE_VALF) == 0);  // contributes nothing
  CHECK(std::isnan(exp2_kernel(std::nanf(""))));
}

TEST_CASE("tanh is right to about two units", "[functions]") {
  long double worst = 0;
  for (float x = 1e-6F; x < 25; x *= 1.0003F)
    worst = std::max(worst, relative(static_cast<long double>(tanh_kernel(x)),
                                     std::tanh(static_cast<long double>(x))));
  CHECK(worst < 2e-7L);
  for (float x = 1e-6F; x < 25; x *= 1.01F)
    CHECK(tanh_kernel(-x) == -tanh_kernel(x));
  CHECK(tanh_kernel(0) == 0);
  CHECK(tanh_kernel(1e30F) == 1);
  CHECK(tanh_kernel(-HUGE_VALF) == -1);
}

TEST_CASE("both kernels' functions agree to the bit", "[functions]") {
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    float a[kScoreStride];
    for (int i = 0; i < 16; ++i) {
      const auto bits = static_cast<std::uint32_t>(random());
      // Any float at all, or one of ordinary size.
      a[i] = round % 2 == 0 ? std::bit_cast<float>(bits)
                            : static_cast<float>(bits % 4096) / 128 - 16;
      if (std::isnan(a[i])) a[i] = 1;
    }
    float b[kScoreStride];
    std::copy_n(a, 16, b);
    const Visible visible{.begin = 0, .end = 1 + round % 16};
    const Slots slots{.begin = 0, .end = visible.end};
    const float cap = round % 3 == 0 ? 0.0F : static_cast<float>(round % 50);
    const SoftmaxSum x = kScalar.softmax(a, slots, visible, cap);
    const SoftmaxSum y = active().softmax(b, slots, visible, cap);
    REQUIRE(std::equal(a, a + slots.end, b, [](float p, float q) {
      return p == q || (std::isnan(p) && std::isnan(q));
    }));
    REQUIRE((x.sum == y.sum || (std::isnan(x.sum) && std::isnan(y.sum))));
    REQUIRE(x.max == y.max);
  }
}

TEST_CASE("sine and cosine", "[functions]") {
  std::mt19937_64 random(5);
  long double worst = 0;
  for (int round = 0; round < 300000; ++round) {
    const double size = std::ldexp(1.0, static_cast<int>(random() % 40) - 20);
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    const double angle = (unit * 2 - 1) * size;
    const SinCos at = sin_cos(angle);
    const auto exact = static_cast<long double>(angle);
    worst = std::max(
        {worst, std::fabs(static_cast<long double>(at.sine) - std::sin(exact)),
         std::fabs(static_cast<long double>(at.cosine) - std::cos(exact))});
  }
  CHECK(worst < 3e-16L);
  // Angles close to multiples of pi/2, where reduction is hardest.
  for (int k = 1; k < 2000000; k += 37) {
    const double angle = k * (std::numbers::pi / 2);
    const auto exact = static_cast<long double>(angle);
    worst = std::max(worst,
                     std::fabs(static_cast<long double>(sin_cos(angle).sine) -
                               std::sin(exact)));
  }
  CHECK(worst < 3e-16L);
  CHECK(sin_cos(0).sine == 0);
  CHECK(sin_cos(0).cosine == 1);
  CHECK(std::isnan(sin_cos(1e300).sine));
  CHECK(std::isnan(sin_cos(HUGE_VAL).cosine));
}

TEST_CASE("log2 and exp2", "[functions]") {
  long double worst = 0;
  for (double x = 1e-310; x < 1e300; x *= 1.37)
    worst = std::max(worst, relative(static_cast<long double>(log2(x)),
                                     std::log2(static_cast<long double>(x))));
  CHECK(worst < 1e-15L);
  CHECK(log2(1) == 0);
  CHECK(log2(8) == 3);
  CHECK(std::isnan(log2(0)));
  CHECK(std::isnan(log2(-1)));
  CHECK(std::isnan(log2(HUGE_VAL)));
  worst = 0;
  for (double x = -1022; x < 1024; x += 0.0137)
    worst = std::max(worst, relative(static_cast<long double>(exp2(x)),
                                     std::exp2(static_cast<long double>(x))));
  CHECK(worst < 1e-15L);
  CHECK(exp2(10) == 1024);
  CHECK(exp2(2000) == HUGE_VAL);
  CHECK(exp2(-2000) == 0);
  CHECK(std::isnan(exp2(std::nan(""))));
}

TEST_CASE("rotary embedding turns pairs", "[rotary]") {
  constexpr std::int64_t kDims = 48;
  const std::vector<std::int64_t> positions = {0, 1, 17, 4095, 131071};
  for (const double theta : {10000.0, 1e6, 500000.0}) {
    const auto frequencies = inverse_frequencies(theta, kDims);
    REQUIRE(frequencies.size() == kDims / 2);
    const double factor = 1.25;
    const RotaryTable table = rotary_table(positions, frequencies, factor);
    std::mt19937 random(9);
    for (std::size_t at = 0; at < positions.size(); ++at)
      for (const bool half : {true, false}) {
        float row[kDims + 3];
        for (float& x : row) x = static_cast<float>(random() % 2001) / 1000 - 1;
        float out[kDims + 3];
        std::copy(std::begin(row), std::end(row), out);
        (half ? rotate_half : rotate_interleaved)(
            table, static_cast<std::int64_t>(at), out);
        for (std::size_t pair = 0; pair < kDims / 2; ++pair) {
          const double frequency =
              std::pow(theta, -2.0 * static_cast<double>(pair) / kDims);
          const double angle = static_cast<double>(positions[at]) * frequency;
          const std::size_t first = half ? pair : 2 * pair;
          const std::size_t second = half ? pair + kDims / 2 : 2 * pair + 1;
          const auto a = static_cast<double>(row[first]);
          const auto b = static_cast<double>(row[second]);
          const double x = (a * std::cos(angle) - b * std::sin(angle)) * factor;
          const double y = (b * std::cos(angle) + a * std::sin(angle)) * factor;
          CHECK(std::fabs(static_cast<double>(out[first]) - x) < 1.2e-7);
          CHECK(std::fabs(static_cast<double>(out[second]) - y) < 1.2e-7);
        }
        CHECK(std::equal(row + kDims, row + kDims + 3, out + kDims));
      }
  }
}

}  // namespace kvtape::kernels
