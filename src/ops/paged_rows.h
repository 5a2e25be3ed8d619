// The keys or values of one batch row as a replay works on them: pages that
// lie in the source until a step writes into them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/slab.h"
#include "kernels/kernels.h"

namespace kvtape {

/// Slots [slot, head, dim] in pages of kernels::kSpan, aligned to it. A page
/// borrows its source in place, in any axis order; a source that cannot be
/// addressed is read page by page when asked for. The first write turns a page
/// into a packed copy. Copies of a PagedRows share pages until one is written.
class PagedRows {
 public:
  PagedRows() = default;

  /// A row of an unquantized tensor, which must outlive it.
  PagedRows(const Tensor& source, std::int64_t row);

  /// Slots that lie in memory and must outlive it; what is written is f32.
  explicit PagedRows(const SlabView& slots);

  /// Slots of its own, all zero.
  PagedRows(DType dtype, std::int64_t slots, std::int64_t heads,
            std::int64_t dim);

  DType dtype() const { return dtype_; }
  std::int64_t slots() const { return slots_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t dim() const { return dim_; }
  std::int64_t pages() const {
    return (slots_ + kernels::kSpan - 1) / kernels::kSpan;
  }

  /// A page in place, read if need be. Valid until it is written or dropped.
  SlabView page(std::int64_t number);

  /// Replaces slots [slot, slot + rows) by the rows of a slab of the same
  /// heads and dims, rounded to dtype(). Requires that they exist.
  void write(std::int64_t slot, const SlabView& rows);

  /// Adds slots at the end, all zero until they are written.
  void grow(std::int64_t count);

  /// Drops the oldest slots and adds as many zero ones at the end. Rows that
  /// shift cannot grow, nor be promoted.
  void shift(std::int64_t count);

  /// The dtype of what is written from here on. Requires one that holds every
  /// number of dtype(); pages keep theirs until they are written.
  void promote(DType dtype) { dtype_ = dtype; }

  /// Whether a page was written, or moved, since it was settled.
  bool changed(std::int64_t page) const {
    return pages_[static_cast<std::size_t>(page)].changed;
  }
  void settle(std::int64_t page) {
    pages_[static_cast<std::size_t>(page)].changed = false;
  }

  /// Forgets pages outside [first, last) that can be read again.
  void drop_outside(std::int64_t first, std::int64_t last);

  /// Bytes of the pages that are held and could be read again.
  std::int64_t clean_bytes() const;

  /// All slots, packed [slot, head, dim] in dtype(), to `to`.
  void copy_to(std::byte* to);

 private:
  struct PageState {
    SlabView view;
    std::shared_ptr<std::byte[]> bytes;  // null: lies in source or strip
    std::int64_t capacity = 0;           // of bytes, in slots
    bool written = false;                // differs from the source
    bool changed = false;                // since it was settled
  };

  std::int64_t slots_of(std::int64_t page) const;
  std::int64_t row_bytes(DType dtype) const;
  std::shared_ptr<std::byte[]> room(DType dtype, std::int64_t slots) const;
  void load(std::int64_t page);
  std::byte* writable(std::int64_t page);
  std::byte* writable_strip(std::int64_t page);
  std::byte* strip_slot(std::int64_t slot) const;
  void make_strip(std::int64_t first);
  void point_into_strip();

  const Tensor* source_ = nullptr;
  std::int64_t row_ = 0;
  DType dtype_ = DType::kF32;
  std::int64_t slots_ = 0;
  std::int64_t heads_ = 0;
  std::int64_t dim_ = 0;
  std::vector<PageState> pages_;
  /// Rows that shift lie in one strip, longer than they are, and all pages in
  /// it: dropping the oldest slot moves nothing until its end is reached.
  std::shared_ptr<std::byte[]> strip_;
  std::int64_t strip_slots_ = 0;
  std::int64_t strip_first_ = 0;
};

}  // namespace kvtape
