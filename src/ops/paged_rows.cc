// Pages of slots: borrowed, read on demand, copied on write.
#include "ops/paged_rows.h"

#include <algorithm>
#include <cstring>

#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using kernels::kSpan;

}  // namespace

PagedRows::PagedRows(const Tensor& source, std::int64_t row)
    : source_(&source),
      row_(row),
      dtype_(source.dtype),
      slots_(extent(source, AxisKind::kPosition)),
      heads_(extent(source, AxisKind::kHead)),
      dim_(extent(source, AxisKind::kDim)) {
  pages_.resize(static_cast<std::size_t>(pages()));
}

PagedRows::PagedRows(const SlabView& slots)
    : PagedRows(DType::kF32, slots.shape[0], slots.shape[1], slots.shape[2]) {
  for (std::int64_t page = 0; page < pages(); ++page)
    pages_[static_cast<std::size_t>(page)].view =
        cut(slots, page * kSpan, slots_of(page));
}

PagedRows::PagedRows(DType dtype, std::int64_t slots, std::int64_t heads,
                     std::int64_t dim)
    : dtype_(dtype), slots_(slots), heads_(heads), dim_(dim) {
  pages_.resize(static_cast<std::size_t>(pages()));
}

std::int64_t PagedRows::slots_of(std::int64_t page) const {
  return std::min(kSpan, slots_ - page * kSpan);
}

std::int64_t PagedRows::row_bytes(DType dtype) const {
  return heads_ * dim_ * bytes_per_element(dtype);
}

std::shared_ptr<std::byte[]> PagedRows::room(DType dtype,
                                             std::int64_t slots) const {
  return std::make_shared<std::byte[]>(
      static_cast<std::size_t>(slots * row_bytes(dtype)));
}

void PagedRows::load(std::int64_t page) {
  PageState& state = pages_[static_cast<std::size_t>(page)];
  if (state.view.data != nullptr) return;
  if (source_ == nullptr) {
    writable(page);
    return;
  }
  SlabReader reader;
  const SlabView view =
      reader.read(*source_, row_, page * kSpan, slots_of(page));
  if (!source_->source->bytes().empty()) {
    state.view = view;
    return;
  }
  state.bytes = room(view.dtype, view.shape[0]);
  state.capacity = view.shape[0];
  copy_slab(view, view.dtype, state.bytes.get());
  state.view = packed_slab(state.bytes.get(), view.dtype, view.shape);
}

SlabView PagedRows::page(std::int64_t number) {
  load(number);
  SlabView view = pages_[static_cast<std::size_t>(number)].view;
  view.shape[0] = slots_of(number);
  return view;
}

std::byte* PagedRows::writable(std::int64_t page) {
  if (strip_) return writable_strip(page);
  PageState& state = pages_[static_cast<std::size_t>(page)];
  const std::int64_t slots = slots_of(page);
  const bool own = state.written && state.bytes.use_count() == 1 &&
                   state.view.dtype == dtype_ && state.capacity >= slots;
  if (!own) {
    if (source_ != nullptr && !state.written) load(page);
    // A page that grows slot by slot is not copied each time.
    const std::int64_t capacity =
        state.written ? std::min(kSpan, std::max(slots, 2 * state.capacity))
                      : slots;
    auto bytes = room(dtype_, capacity);
    if (state.view.data != nullptr) copy_slab(state.view, dtype_, bytes.get());
    state.bytes = std::move(bytes);
    state.capacity = capacity;
    state.written = true;
  }
  state.view = packed_slab(state.bytes.get(), dtype_, {slots, heads_, dim_});
  state.changed = true;
  return state.bytes.get();
}

std::byte* PagedRows::writable_strip(std::int64_t page) {
  if (strip_.use_count() > 1) {
    make_strip(0);
    point_into_strip();
  }
  pages_[static_cast<std::size_t>(page)].changed = true;
  return strip_slot(page * kSpan);
}

void PagedRows::write(std::int64_t slot, const SlabView& rows) {
  for (std::int64_t done = 0; done < rows.shape[0];) {
    const std::int64_t at = (slot + done) % kSpan;
    const std::int64_t count = std::min(kSpan - at, rows.shape[0] - done);
    std::byte* bytes = writable((slot + done) / kSpan);
    copy_slab(cut(rows, done, count), dtype_, bytes + at * row_bytes(dtype_));
    done += count;
  }
}

void PagedRows::grow(std::int64_t count) {
  // The last page is read before the row grows past its source.
  if (slots_ % kSpan != 0) writable(slots_ / kSpan);
  slots_ += count;
  const auto before = static_cast<std::int64_t>(pages_.size());
  pages_.resize(static_cast<std::size_t>(pages()));
  for (std::int64_t page = before; page < pages(); ++page)
    pages_[static_cast<std::size_t>(page)].written = true;
}

std::byte* PagedRows::strip_slot(std::int64_t slot) const {
  return strip_.get() + (strip_first_ + slot) * row_bytes(dtype_);
}

// Moves slots [first, slots_) to the start of a new strip.
void PagedRows::make_strip(std::int64_t first) {
  const std::int64_t slots = slots_ + slots_ / 2 + 1;
  auto bytes = room(dtype_, slots);
  std::byte* to = bytes.get();
  for (std::int64_t number = first / kSpan; number < pages(); ++number) {
    const std::int64_t begin =
        std::max(first - number * kSpan, std::int64_t{0});
    const SlabView rest = cut(page(number), begin, slots_of(number) - begin);
    copy_slab(rest, dtype_, to);
    to += rest.shape[0] * row_bytes(dtype_);
  }
  strip_ = std::move(bytes);
  strip_slots_ = slots;
  strip_first_ = 0;
}

void PagedRows::point_into_strip() {
  for (std::int64_t page = 0; page < pages(); ++page)
    pages_[static_cast<std::size_t>(page)] = {
        .view = packed_slab(strip_slot(page * kSpan), dtype_,
                            {slots_of(page), heads_, dim_}),
        .written = true,
        .changed = true};
}

void PagedRows::shift(std::int64_t count) {
  const std::int64_t gone = std::min(count, slots_);
  if (strip_ && strip_.use_count() == 1 &&
      strip_first_ + gone + slots_ <= strip_slots_)
    strip_first_ += gone;
  else
    make_strip(gone);
  point_into_strip();
  std::memset(strip_slot(slots_ - gone), 0,
              static_cast<std::size_t>(gone * row_bytes(dtype_)));
}

void PagedRows::drop_outside(std::int64_t first, std::int64_t last) {
  for (std::int64_t page = 0; page < pages(); ++page) {
    PageState& state = pages_[static_cast<std::size_t>(page)];
    if (state.written || (page >= first && page < last)) continue;
    state = {};
  }
}

std::int64_t PagedRows::clean_bytes() const {
  std::int64_t pages = 0;
  for (const PageState& state : pages_)
    if (state.bytes && !state.written) ++pages;
  return pages * kSpan * row_bytes(dtype_);
}

void PagedRows::copy_to(std::byte* to) {
  for (std::int64_t number = 0; number < pages(); ++number) {
    copy_slab(page(number), dtype_, to);
    to += slots_of(number) * row_bytes(dtype_);
  }
}

}  // namespace kvtape
