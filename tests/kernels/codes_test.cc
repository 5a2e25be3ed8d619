// int8 codes times their scale, for every 16-bit scale and every code.
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>

#include "kernels/dispatch.h"
#include "kernels/scalar_convert.h"
#if defined(__x86_64__)
#include "kernels/avx2.h"
#endif

namespace kvtape::kernels {
namespace {

constexpr std::size_t kCodes = 256;

std::array<std::int8_t, kCodes> all_codes() {
  std::array<std::int8_t, kCodes> codes{};
  std::iota(codes.begin(), codes.end(), std::int8_t{-128});
  return codes;
}

float scale_of(std::uint32_t bits, Element element) {
  const auto half = static_cast<std::uint16_t>(bits);
  return element == Element::kF16 ? from_f16(half) : from_bf16(half);
}

using Floats = std::array<float, kCodes>;

Floats defined(const std::array<std::int8_t, kCodes>& codes, float scale,
               Element element) {
  Floats out{};
  scalar_widen_codes(codes.data(), scale, element, kCodes, out.data());
  return out;
}

bool same(const Floats& a, const Floats& b) {
  return std::memcmp(a.data(), b.data(), sizeof a) == 0;
}

#if defined(__x86_64__)
template <Element kElement>
KVTAPE_AVX2 Floats in_registers(const std::array<std::int8_t, kCodes>& codes,
                                float scale) {
  Floats out{};
  for (std::size_t i = 0; i < kCodes; i += kLanes)
    _mm256_storeu_ps(out.data() + i,
                     Codes<kElement>::load(
                         reinterpret_cast<const std::byte*>(codes.data() + i),
                         Codes<kElement>::scale(&scale, 0)));
  return out;
}

// Returns how many scales were tried.
template <Element kElement>
int try_registers() {
  const auto codes = all_codes();
  int tried = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float scale = scale_of(bits, kElement);
    if (!(scale > 0 && scale < Codes<kElement>::kScaleLimit)) continue;
    ++tried;
    if (!same(in_registers<kElement>(codes, scale),
              defined(codes, scale, kElement)))
      FAIL("scale " << scale);
  }
  return tried;
}
#endif

}  // namespace

TEST_CASE("codes are widened as defined", "[codes]") {
  const auto codes = all_codes();
  for (const Element element : {Element::kF16, Element::kBF16})
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const float scale = scale_of(bits, element);
      Floats out{};
      active().widen_codes(codes.data(), scale, element, kCodes, out.data());
      if (!same(out, defined(codes, scale, element))) FAIL("scale " << scale);
    }
}

#if defined(__x86_64__)
TEST_CASE("codes are rounded in registers as defined", "[codes]") {
  if (!has_avx2(native_cpu())) return;
  CHECK(try_registers<Element::kF16>() == 0x5bff);
  CHECK(try_registers<Element::kBF16>() == 0x717f);
}
#endif

}  // namespace kvtape::kernels
