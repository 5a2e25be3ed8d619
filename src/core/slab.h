// Slabs: ranges of positions of one batch row of a tensor, read in place where
// the source is addressable and through a reused buffer elsewhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Borrowed elements [position, head, dim]; strides in elements. `data` may be
/// unaligned. An absent head axis is one head.
struct SlabView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::array<std::int64_t, 3> shape{};
  std::array<std::int64_t, 3> strides{};
};

/// Reads slabs of unquantized tensors. A view is valid until the next read.
class SlabReader {
 public:
  /// Positions (or tokens) [first, first + count) of a batch row, all heads.
  /// Throws Error when the range lies outside or cannot be read.
  SlabView read(const Tensor& tensor, std::int64_t row, std::int64_t first,
                std::int64_t count);

 private:
  std::vector<std::byte> buffer_;
};

}  // namespace kvtape
