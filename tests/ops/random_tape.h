// Random tapes of every kind that the format knows, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape::tests {

/// Numbers in (-1, 1) that are the same everywhere.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 2 + 1) {}
  double next();
  std::int64_t below(std::int64_t limit);

 private:
  std::uint64_t state_;
};

struct TapeShape {
  std::vector<std::int64_t> batch = {2};
  std::int64_t layers = 1;
  std::int64_t extent = 12;
  std::int64_t key_heads = 2;
  std::int64_t query_heads = 4;
  std::int64_t key_dim = 6;
  std::int64_t value_dim = 5;
  std::vector<std::int64_t> steps = {3, 1, 1};
  std::vector<std::int64_t> index = {0};  // of each row; the last one repeats
  std::vector<std::int64_t> starts = {0};
  DType dtype = DType::kF32;
  DType trace_dtype = DType::kF32;
  Layout layout = Layout::kLinear;
  /// Memory order: b = all batch axes, p, h, d; without h the head axis is
  /// absent.
  std::string order = "bphd";
  bool stacked = false;
  std::uint64_t seed = 1;
};

/// Caches and traces filled with numbers; all slots of the caches too.
Tape random_tape(const TapeShape& shape);

/// A float tensor of the dtype, axes in memory order.
Tensor float_tensor(DType dtype, std::vector<Axis> axes,
                    const std::vector<double>& values);
/// A tensor of i32.
Tensor int_tensor(std::vector<Axis> axes,
                  const std::vector<std::int64_t>& values);

std::vector<Axis> batch_axes(const TapeShape& shape);
std::int64_t rows_of(const TapeShape& shape);
std::int64_t tokens_of(const TapeShape& shape);

/// A tensor in the usual order of axes, quantized. block: of NF4.
Tensor quantized(const Tensor& tensor, Quantization::Scheme scheme,
                 std::int64_t block);

}  // namespace kvtape::tests
