// Which kernels follow from which CPU, with CPUs made up.
#include "kernels/dispatch.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string_view>

#include "kvtape/error.h"

namespace kvtape::kernels {
namespace {

constexpr std::uint32_t kFma = 1U << 12;
constexpr std::uint32_t kOsxsave = 1U << 27;
constexpr std::uint32_t kAvx = 1U << 28;
constexpr std::uint32_t kF16c = 1U << 29;
constexpr std::uint32_t kAvx2Bit = 1U << 5;

struct FakeCpu {
  std::uint32_t leaves = 7;
  std::uint32_t features = kFma | kOsxsave | kAvx | kF16c;  // leaf 1, ecx
  std::uint32_t more = kAvx2Bit;                            // leaf 7, ebx
  std::uint64_t xcr0 = 7;

  CpuReader reader() const {
    const FakeCpu cpu = *this;
    return {.leaf =
                [cpu](std::uint32_t leaf, std::uint32_t subleaf) {
                  std::array<std::uint32_t, 4> registers{};
                  if (leaf == 0) registers[0] = cpu.leaves;
                  if (leaf == 1) registers[2] = cpu.features;
                  if (leaf == 7 && subleaf == 0) registers[1] = cpu.more;
                  return registers;
                },
            .xcr0 =
                [cpu] {
                  // Without OSXSAVE the instruction does not exist.
                  REQUIRE((cpu.features & kOsxsave) != 0);
                  return cpu.xcr0;
                }};
  }
};

}  // namespace

TEST_CASE("a CPU with everything runs AVX2", "[dispatch]") {
  CHECK(has_avx2(FakeCpu{}.reader()));
}

TEST_CASE("AVX2 is not used where anything is missing", "[dispatch]") {
  for (const std::uint32_t bit : {kFma, kOsxsave, kAvx, kF16c}) {
    FakeCpu cpu;
    cpu.features &= ~bit;
    CHECK_FALSE(has_avx2(cpu.reader()));
  }
  CHECK_FALSE(has_avx2(FakeCpu{.more = ~kAvx2Bit}.reader()));
  CHECK_FALSE(has_avx2(FakeCpu{.leaves = 6}.reader()));
  CHECK_FALSE(has_avx2(FakeCpu{.xcr0 = 3}.reader()));  // no AVX state saved
  CHECK_FALSE(has_avx2(FakeCpu{.xcr0 = 5}.reader()));
}

TEST_CASE("kernels are chosen by CPU and by name", "[dispatch]") {
  const CpuReader old = FakeCpu{.more = 0}.reader();
  CHECK(choose(old, nullptr).name == std::string_view("scalar"));
  CHECK(choose(old, "").name == std::string_view("scalar"));
  CHECK(choose(old, "scalar").name == std::string_view("scalar"));
  CHECK_THROWS_AS(choose(old, "avx2"), Error);
  const CpuReader modern = FakeCpu{}.reader();
  CHECK(choose(modern, "scalar").name == std::string_view("scalar"));
  CHECK_THROWS_AS(choose(modern, "AVX2"), Error);
  CHECK_THROWS_AS(choose(modern, "avx512"), Error);
#if defined(__x86_64__)
  CHECK(choose(modern, nullptr).name == std::string_view("avx2"));
  CHECK(choose(modern, "avx2").name == std::string_view("avx2"));
#endif
}

TEST_CASE("what is forced is used", "[dispatch]") {
  const char* forced = std::getenv("KVTAPE_KERNEL");
  if (forced == nullptr) return;
  CHECK(active().name == std::string_view(forced));
}

}  // namespace kvtape::kernels
