// What the CPU can do, and which kernels follow from it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "kernels/kernels.h"

namespace kvtape::kernels {

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2;
#endif

/// Reads CPU identification; replaced in tests.
struct CpuReader {
  /// eax, ebx, ecx, edx of a leaf and subleaf; zeros where there is none.
  std::function<std::array<std::uint32_t, 4>(std::uint32_t, std::uint32_t)>
      leaf;
  /// XCR0, the register state that the system saves. Called only with OSXSAVE.
  std::function<std::uint64_t()> xcr0;
};

/// The reader of the CPU that runs this.
CpuReader native_cpu();

/// AVX2, FMA and F16C, and an operating system that keeps their registers.
bool has_avx2(const CpuReader& cpu);

/// The kernels for this CPU, or those named by `forced` (null or "" = none).
/// Throws Error for an unknown name and for kernels that the CPU cannot run.
const Kernels& choose(const CpuReader& cpu, const char* forced);

}  // namespace kvtape::kernels
