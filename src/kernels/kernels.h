// The kernels: plain functions on numbers. scalar.cc defines every result to
// the bit; avx2.cc gives the same bits; dispatch.cc chooses at run time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvtape::kernels {

/// Slots of a span (one softmax maximum) and of a block (one chain of fmas);
/// both are aligned to absolute slot numbers.
inline constexpr std::int64_t kSpan = 512;
inline constexpr std::int64_t kBlock = 64;

enum class Element : std::uint8_t { kF64, kF32, kF16, kBF16 };

/// [slot, dim] numbers of one head in place; strides in elements, `data` may
/// be unaligned.
struct Rows {
  const std::byte* data = nullptr;
  Element element = Element::kF32;
  std::int64_t slot_stride = 0;
  std::int64_t dim_stride = 1;
};

struct Kernels;  // the table of implementations

/// The kernels in use: KVTAPE_KERNEL=scalar|avx2 if set, else the best that
/// the CPU has. Throws Error... see dispatch.cc.
const Kernels& active();

}  // namespace kvtape::kernels
