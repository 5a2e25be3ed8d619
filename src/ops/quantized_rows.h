// Quantized keys or values as a replay works on them: EasyDeL attends to
// dequantized rows and quantizes the whole layer again after every step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "kvtape/tensor.h"
#include "ops/paged_rows.h"

namespace kvtape {

/// Whether no block of codes lies in two slots. A batch row of such a tensor
/// is quantized by itself; blocks of others may lie in two rows, and all rows
/// go together.
bool rows_are_apart(const Tensor& tensor);

/// Codes or scales: those of the file until they are written.
class CodeBytes {
 public:
  CodeBytes() = default;
  /// Bytes [first, first + count) elements of `size` bytes of a source that is
  /// one run; borrowed where it can be addressed.
  CodeBytes(const SlabSource& source, std::int64_t first, std::int64_t count,
            std::int64_t size);
  CodeBytes(CodeBytes&&) = default;
  CodeBytes& operator=(CodeBytes&&) = default;

  std::span<const std::byte> bytes() const {
    return owned_ ? std::span<const std::byte>(own_) : borrowed_;
  }
  /// Room for `size` bytes that can be written; those there stay.
  void make_writable(std::size_t size);
  /// Requires make_writable.
  std::byte* data() { return own_.data(); }

 private:
  std::span<const std::byte> borrowed_;
  std::vector<std::byte> own_;
  bool owned_ = false;
};

/// Codes and scales of some batch rows, and what they stand for.
class QuantizedRows {
 public:
  /// Reads rows [first, last): one row if rows_are_apart, else all.
  QuantizedRows(const Tensor& tensor, std::int64_t first, std::int64_t last);

  /// What a row of the group is read back as, in f32.
  PagedRows dequantized(std::int64_t row_in_group) const;

  /// A row that nobody writes: int8 codes stay what they are, and are valid as
  /// long as this is and is not quantized again.
  PagedRows read_only(std::int64_t row_in_group) const;

  /// Quantizes the rows of the group after a step, and replaces them by what
  /// is then read back. Pages that were not written since they were found to
  /// come back as they are stay as they are.
  void requantize(const std::vector<PagedRows*>& rows, ThreadPool& pool);

  std::int64_t rows() const { return rows_; }
  std::span<const std::byte> codes() const { return codes_.bytes(); }
  std::span<const std::byte> scales() const { return scales_.bytes(); }

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
  CodeBytes codes_;
  CodeBytes scales_;
};

}  // namespace kvtape
