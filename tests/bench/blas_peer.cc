#include "blas_peer.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

namespace kvtape::bench {
namespace {

// Rows whose scores are in memory at once.
constexpr std::int64_t kRowsAtOnce = 512;

int blas_int(std::int64_t x) { return static_cast<int>(x); }

void softmax(float* scores, std::int64_t count) {
  const float max = *std::max_element(scores, scores + count);
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i)
    sum += scores[i] = std::exp(scores[i] - max);
  for (std::int64_t i = 0; i < count; ++i) scores[i] /= sum;
}

// [token, query_head, dim] as [head, (group, token), dim].
std::vector<float> rows_by_head(const Shape& shape,
                                const std::vector<float>& query) {
  std::vector<float> result;
  for (std::int64_t head = 0; head < shape.query_heads; ++head)
    for (std::int64_t token = 0; token < shape.tokens; ++token) {
      const auto* row =
          query.data() + (token * shape.query_heads + head) * shape.dim;
      result.insert(result.end(), row, row + shape.dim);
    }
  return result;
}

float scale_of(const Shape& shape) {
  return 1 / std::sqrt(static_cast<float>(shape.dim));
}

}  // namespace

BlasPeer::BlasPeer(const Shape& shape, const float* key, const float* value,
                   const std::vector<float>& query)
    : shape_(shape),
      key_(key),
      value_(value),
      query_(rows_by_head(shape, query)),
      scores_(static_cast<std::size_t>(
          std::min(shape.group() * shape.tokens, kRowsAtOnce) * shape.slots)),
      output_(query.size()) {}

void BlasPeer::head_with_matrices(std::int64_t head, std::int64_t first,
                                  std::int64_t rows) {
  const int slots = blas_int(shape_.slots);
  const int dim = blas_int(shape_.dim);
  const std::int64_t at = head * shape_.slots * shape_.dim;
  const std::int64_t row =
      (head * shape_.group() * shape_.tokens + first) * shape_.dim;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas_int(rows), slots,
              dim, scale_of(shape_), query_.data() + row, dim, key_ + at, dim,
              0, scores_.data(), slots);
  for (std::int64_t i = 0; i < rows; ++i)
    softmax(scores_.data() + i * shape_.slots, shape_.slots);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas_int(rows), dim,
              slots, 1, scores_.data(), slots, value_ + at, dim, 0,
              output_.data() + row, dim);
}

void BlasPeer::head_with_vectors(std::int64_t head, std::int64_t row) {
  const int slots = blas_int(shape_.slots);
  const int dim = blas_int(shape_.dim);
  const std::int64_t at = head * shape_.slots * shape_.dim;
  cblas_sgemv(CblasRowMajor, CblasNoTrans, slots, dim, scale_of(shape_),
              key_ + at, dim, query_.data() + row * dim, 1, 0, scores_.data(),
              1);
  softmax(scores_.data(), slots);
  cblas_sgemv(CblasRowMajor, CblasTrans, slots, dim, 1, value_ + at, dim,
              scores_.data(), 1, 0, output_.data() + row * dim, 1);
}

void BlasPeer::run(int threads) {
  openblas_set_num_threads(threads);
  const std::int64_t rows = shape_.group() * shape_.tokens;
  for (std::int64_t head = 0; head < shape_.heads; ++head) {
    if (rows == 1) head_with_vectors(head, head);
    for (std::int64_t first = 0; rows > 1 && first < rows; first += kRowsAtOnce)
      head_with_matrices(head, first, std::min(kRowsAtOnce, rows - first));
  }
}

}  // namespace kvtape::bench
