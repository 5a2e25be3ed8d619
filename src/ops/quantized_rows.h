// Quantized keys or values as a replay works on them: EasyDeL attends to
// dequantized rows and quantizes the whole layer again after every step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/thread_pool.h"
#include "kvtape/tensor.h"
#include "ops/paged_rows.h"

namespace kvtape {

/// Whether no block of codes lies in two slots. A batch row of such a tensor
/// is quantized by itself; blocks of others may lie in two rows, and all rows
/// go together.
bool rows_are_apart(const Tensor& tensor);

/// Codes and scales of some batch rows, and what they stand for.
class QuantizedRows {
 public:
  /// Reads rows [first, last): one row if rows_are_apart, else all.
  QuantizedRows(const Tensor& tensor, std::int64_t first, std::int64_t last);

  /// What a row of the group is read back as, in f32.
  PagedRows dequantized(std::int64_t row_in_group) const;

  /// Quantizes the rows of the group after a step, and replaces them by what
  /// is then read back. Pages that were not written since they were found to
  /// come back as they are stay as they are.
  void requantize(const std::vector<PagedRows*>& rows, ThreadPool& pool);

  std::int64_t rows() const { return rows_; }
  const std::vector<std::byte>& codes() const { return codes_; }
  const std::vector<std::byte>& scales() const { return scales_; }

 private:
  struct Run {
    std::int64_t first = 0;  // elements of the group
    std::int64_t count = 0;
  };

  void dequantize(const Run& run, float* to) const;
  void quantize(const Run& run, const float* from);
  void resize(std::int64_t elements);
  void requantize_page(PagedRows& rows, std::int64_t page);
  void requantize_pages(PagedRows& rows, ThreadPool& pool);
  void requantize_together(const std::vector<PagedRows*>& rows);

  const Tensor* tensor_;
  std::int64_t rows_ = 0;
  bool by_page_ = false;
  std::int64_t block_ = 0;     // elements per scale
  std::int64_t elements_ = 0;  // of the group
  std::vector<std::byte> codes_;
  std::vector<std::byte> scales_;
};

}  // namespace kvtape
