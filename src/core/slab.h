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
/// unaligned. An absent head axis is one head. Where there are scales
/// [position, head], elements of `dtype`, data are int8 codes: a number is its
/// code times its scale, rounded to `dtype`.
struct SlabView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::array<std::int64_t, 3> shape{};
  std::array<std::int64_t, 3> strides{};
  const std::byte* scales = nullptr;
  std::array<std::int64_t, 2> scale_strides{};

  /// Bytes of a number as it is stored.
  std::int64_t element_bytes() const {
    return scales == nullptr ? bytes_per_element(dtype) : 1;
  }
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
