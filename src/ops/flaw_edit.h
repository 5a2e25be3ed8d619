// A tensor copied into memory and changed there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Where an element is: a (flattened) batch row, a slot or token, head, dim.
struct ElementAt {
  std::int64_t row = 0;
  std::int64_t slot = 0;
  std::int64_t head = 0;
  std::int64_t dim = 0;
};

class TensorEdit {
 public:
  /// Requires an unquantized tensor; a whole stack is copied.
  explicit TensorEdit(const Tensor& tensor);

  std::int64_t heads() const { return extent(tensor_, AxisKind::kHead); }
  std::int64_t dims() const { return extent(tensor_, AxisKind::kDim); }

  void set_bits(const ElementAt& at, std::uint64_t bits);
  std::uint64_t bits(const ElementAt& at) const;

  /// Copies all dims of `from`, as `before` held them, to `to`.
  void copy(const TensorEdit& before, ElementAt from, ElementAt to);
  void clear(ElementAt at);  // all dims

  /// The changed tensor.
  Tensor done() const;

 private:
  std::size_t offset(const ElementAt& at) const;  // in bytes

  Tensor tensor_;
  std::vector<std::byte> bytes_;
};

/// The bits of a quiet NaN, and of infinity, of a floating dtype.
std::uint64_t nan_bits(DType dtype);
std::uint64_t infinity_bits(DType dtype);

}  // namespace kvtape
