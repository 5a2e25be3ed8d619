// Chooses the kernels at run time. <cpuid.h> rather than
// __builtin_cpu_supports: Clang 14 does not know "f16c" there.
#include "kernels/dispatch.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "kvtape/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace kvtape::kernels {
namespace {

constexpr const char* kVariable = "KVTAPE_KERNEL";

bool has_bits(std::uint32_t value, std::uint32_t bits) {
  return (value & bits) == bits;
}

#if defined(__x86_64__)
std::array<std::uint32_t, 4> native_leaf(std::uint32_t leaf,
                                         std::uint32_t subleaf) {
  std::array<std::uint32_t, 4> r{};
  if (__get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]) == 0)
    return {};
  return r;
}

// XGETBV, as bytes of the assembler: the intrinsic wants -mxsave.
std::uint64_t native_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}
#endif

}  // namespace

CpuReader native_cpu() {
#if defined(__x86_64__)
  return {.leaf = native_leaf, .xcr0 = native_xcr0};
#else
  return {.leaf = [](std::uint32_t,
                     std::uint32_t) { return std::array<std::uint32_t, 4>{}; },
          .xcr0 = [] { return std::uint64_t{0}; }};
#endif
}

bool has_avx2(const CpuReader& cpu) {
  constexpr std::uint32_t kFma = 1U << 12;
  constexpr std::uint32_t kOsxsave = 1U << 27;
  constexpr std::uint32_t kAvx = 1U << 28;
  constexpr std::uint32_t kF16c = 1U << 29;
  constexpr std::uint32_t kAvx2Bit = 1U << 5;  // leaf 7, ebx
  constexpr std::uint64_t kYmmState = 0x6;     // SSE and AVX registers
  if (cpu.leaf(0, 0)[0] < 7) return false;
  if (!has_bits(cpu.leaf(1, 0)[2], kFma | kOsxsave | kAvx | kF16c))
    return false;
  return (cpu.xcr0() & kYmmState) == kYmmState &&
         has_bits(cpu.leaf(7, 0)[1], kAvx2Bit);
}

const Kernels& choose(const CpuReader& cpu, const char* forced) {
  const std::string_view name = forced == nullptr ? "" : forced;
  if (name == "scalar") return kScalar;
  if (!name.empty() && name != "avx2")
    throw Error({.field = kVariable,
                 .expected = "scalar or avx2",
                 .found = "\"" + std::string(name) + "\""});
#if defined(__x86_64__)
  if (has_avx2(cpu)) return kAvx2;
#endif
  if (name == "avx2")
    throw Error({.field = kVariable,
                 .text = "this CPU lacks AVX2, FMA or F16C",
                 .hint = "unset KVTAPE_KERNEL: the scalar kernels give the "
                         "same results"});
  return kScalar;
}

const Kernels& active() {
  static const Kernels& chosen = choose(native_cpu(), std::getenv(kVariable));
  return chosen;
}

}  // namespace kvtape::kernels
