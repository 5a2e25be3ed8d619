// Attention as two products of matrices (or of a matrix and a vector) of
// OpenBLAS per key head, over floats [head, slot, dim]; every token sees every
// slot.
#pragma once

#include <memory>

#include "decode_case.h"
#include "timing.h"

namespace kvtape::bench {

class BlasPeer {
 public:
  /// Both spans are [head, slot, dim] of the shape and must outlive it.
  BlasPeer(const Shape& shape, const float* key, const float* value,
           const std::vector<float>& query);

  /// Products of matrices; with one row per head, of a matrix and a vector.
  void run(int threads);
  const std::vector<float>& output() const { return output_; }

 private:
  void head_with_matrices(std::int64_t head, std::int64_t first,
                          std::int64_t rows);
  void head_with_vectors(std::int64_t head, std::int64_t row);

  Shape shape_;
  const float* key_;
  const float* value_;
  std::vector<float> query_;   // [head, row, dim], row = group * tokens
  std::vector<float> scores_;  // [row, slot]
  std::vector<float> output_;  // as query_
};

}  // namespace kvtape::bench
