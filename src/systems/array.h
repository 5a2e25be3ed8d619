// Packed arrays in memory, and JAX's slices of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// C order of batch, position or token, head, dim, those that are there.
struct Array {
  DType dtype = DType::kF32;
  std::vector<Axis> axes;
  std::vector<std::byte> bytes;

  std::vector<std::int64_t> shape() const;
};

/// The elements of a tensor; of a quantized one, what it stands for.
Array array_of(const Tensor& tensor);

Tensor tensor_of(Array array);

/// The same elements, each rounded once to the dtype.
Array as_dtype(Array array, DType dtype);

/// "(2, 1, 4)", as Python prints it.
std::string shape_text(std::span<const std::int64_t> shape);

/// Where JAX's dynamic slices begin: a negative start counts from the end,
/// once; then it is clamped so that `count` fit into `size`.
std::int64_t clamped_start(std::int64_t start, std::int64_t size,
                           std::int64_t count);

/// Throws Error with JAX's text unless `update` fits into `operand`.
void check_update_shape(std::span<const std::int64_t> operand,
                        std::span<const std::int64_t> update);

/// lax.dynamic_update_slice from index (start, 0, 0, ...).
/// Throws Error with JAX's text where shapes or dtypes do not allow it.
void dynamic_update_slice(Array& operand, const Array& update,
                          std::int64_t start);

/// One such update per batch row, along the axis after it.
/// Requires equal batch extents and check_update_shape of a row.
void update_rows(Array& operand, const Array& update,
                 std::span<const std::int64_t> starts);

}  // namespace kvtape
