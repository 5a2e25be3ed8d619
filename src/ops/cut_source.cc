// Parts of arrays.
#include <algorithm>

#include "core/box.h"
#include "ops/box_parts.h"
#include "ops/tensor_sources.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

Sizes sizes_of(const std::vector<AxisCut>& cuts) {
  Sizes sizes;
  for (const AxisCut& cut : cuts) sizes.push_back(cut.size());
  return sizes;
}

// The element of the base at an index of the cut.
std::int64_t base_index(const AxisCut& cut, std::int64_t index) {
  return cut.first + index / cut.count * cut.period + index % cut.count;
}

// How far indices go on side by side.
std::int64_t run_from(const AxisCut& cut, std::int64_t index) {
  return cut.count - index % cut.count;
}

Storage storage_of(std::int64_t bytes) {
  return {.layout = "computed", .filters = "", .stored_bytes = bytes};
}

class CutSource final : public SlabSource {
 public:
  CutSource(std::shared_ptr<const SlabSource> base, Sizes base_sizes,
            std::vector<AxisCut> cuts, int bytes_per_element)
      : base_(std::move(base)),
        base_sizes_(std::move(base_sizes)),
        cuts_(std::move(cuts)),
        sizes_(sizes_of(cuts_)),
        bytes_per_element_(bytes_per_element) {}

  std::span<const std::byte> bytes() const override {
    const auto all = base_->bytes();
    if (all.empty() || !lies_together()) return {};
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < cuts_.size(); ++axis)
      offset = offset * base_sizes_[axis] + cuts_[axis].first;
    return all.subspan(
        static_cast<std::size_t>(offset * bytes_per_element_),
        static_cast<std::size_t>(product(sizes_) * bytes_per_element_));
  }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element_, out.size());
    if (out.empty()) return;
    read_runs(box, 0, box, out);
  }

  Storage storage() const override {
    return storage_of(product(sizes_) * bytes_per_element_);
  }

 private:
  // One axis is cut, those before it hold one index, those after it are whole.
  bool lies_together() const {
    std::size_t axis = 0;
    while (axis < cuts_.size() && sizes_[axis] == 1) ++axis;
    if (axis == cuts_.size()) return true;
    if (cuts_[axis].repeats != 1) return false;
    for (++axis; axis < cuts_.size(); ++axis)
      if (sizes_[axis] != base_sizes_[axis]) return false;
    return true;
  }

  // Splits `part` of `box` along axes from `axis` on into boxes of the base.
  void read_runs(const Box& box, std::size_t axis, const Box& part,
                 std::span<std::byte> out) const {
    if (axis == cuts_.size()) return read_run(box, part, out);
    const AxisCut& cut = cuts_[axis];
    Box run = part;
    const std::int64_t end = part.first[axis] + part.count[axis];
    for (std::int64_t at = part.first[axis]; at < end;) {
      run.first[axis] = at;
      run.count[axis] = std::min(run_from(cut, at), end - at);
      read_runs(box, axis + 1, run, out);
      at += run.count[axis];
    }
  }

  void read_run(const Box& box, const Box& run,
                std::span<std::byte> out) const {
    Box from = run;
    Box to = run;
    for (std::size_t axis = 0; axis < cuts_.size(); ++axis) {
      from.first[axis] = base_index(cuts_[axis], run.first[axis]);
      to.first[axis] -= box.first[axis];
    }
    if (run.count == box.count) return base_->read(from, out);
    std::vector<std::byte> packed(
        static_cast<std::size_t>(product(run.count) * bytes_per_element_));
    base_->read(from, packed);
    paste_box(packed, to, box.count, bytes_per_element_, out.data());
  }

  std::shared_ptr<const SlabSource> base_;
  Sizes base_sizes_;
  std::vector<AxisCut> cuts_;
  Sizes sizes_;
  int bytes_per_element_;
};

class FlatCutSource final : public SlabSource {
 public:
  FlatCutSource(std::shared_ptr<const SlabSource> base, Sizes base_sizes,
                std::vector<AxisCut> cuts, int bytes_per_element)
      : base_(std::move(base)),
        base_sizes_(std::move(base_sizes)),
        cuts_(std::move(cuts)),
        sizes_(sizes_of(cuts_)),
        count_{product(sizes_)},
        bytes_per_element_(bytes_per_element) {
    // What lies together ends with the last axis that is cut.
    std::size_t axis = cuts_.size();
    while (axis > 0 && sizes_[axis - 1] == base_sizes_[axis - 1])
      run_ *= sizes_[--axis];
    if (axis > 0) run_ *= cuts_[axis - 1].count;
  }

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, count_, bytes_per_element_, out.size());
    std::int64_t at = box.first[0];
    for (std::int64_t left = box.count[0]; left > 0;) {
      const std::int64_t count = std::min(run_ - at % run_, left);
      const auto bytes = static_cast<std::size_t>(count * bytes_per_element_);
      base_->read({.first = {base_element(at)}, .count = {count}},
                  out.first(bytes));
      out = out.subspan(bytes);
      at += count;
      left -= count;
    }
  }

  Storage storage() const override {
    return storage_of(count_[0] * bytes_per_element_);
  }

 private:
  std::int64_t base_element(std::int64_t element) const {
    std::int64_t result = 0;
    std::int64_t step = 1;
    for (std::size_t axis = cuts_.size(); axis-- > 0;) {
      result += base_index(cuts_[axis], element % sizes_[axis]) * step;
      element /= sizes_[axis];
      step *= base_sizes_[axis];
    }
    return result;
  }

  std::shared_ptr<const SlabSource> base_;
  Sizes base_sizes_;
  std::vector<AxisCut> cuts_;
  Sizes sizes_;
  Sizes count_;  // one axis
  int bytes_per_element_;
  std::int64_t run_ = 1;  // elements that lie together
};

class SliceSource final : public SlabSource {
 public:
  SliceSource(std::shared_ptr<const SlabSource> base, Sizes sizes,
              std::size_t axis, std::int64_t index, int bytes_per_element)
      : base_(std::move(base)),
        axis_(axis),
        index_(index),
        bytes_per_element_(bytes_per_element) {
    for (std::size_t i = 0; i < sizes.size(); ++i)
      (i < axis ? before_ : after_) *= i == axis ? 1 : sizes[i];
  }

  std::span<const std::byte> bytes() const override {
    const auto all = base_->bytes();
    const std::int64_t bytes = after_ * bytes_per_element_;
    if (all.empty() || before_ != 1) return {};
    return all.subspan(static_cast<std::size_t>(index_ * bytes),
                       static_cast<std::size_t>(bytes));
  }

  void read(const Box& box, std::span<std::byte> out) const override {
    Box from = box;
    const auto at = static_cast<std::ptrdiff_t>(axis_);
    from.first.insert(from.first.begin() + at, index_);
    from.count.insert(from.count.begin() + at, 1);
    base_->read(from, out);
  }

  Storage storage() const override {
    return storage_of(before_ * after_ * bytes_per_element_);
  }

 private:
  std::shared_ptr<const SlabSource> base_;
  std::size_t axis_;
  std::int64_t index_;
  int bytes_per_element_;
  std::int64_t before_ = 1;  // elements of the axes before it, and after it
  std::int64_t after_ = 1;
};

}  // namespace

std::shared_ptr<const SlabSource> slice_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::size_t axis, std::int64_t index, int bytes_per_element) {
  return std::make_shared<SliceSource>(std::move(base), std::move(sizes), axis,
                                       index, bytes_per_element);
}

std::shared_ptr<const SlabSource> cut_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<AxisCut> cuts, int bytes_per_element) {
  return std::make_shared<CutSource>(std::move(base), std::move(sizes),
                                     std::move(cuts), bytes_per_element);
}

std::shared_ptr<const SlabSource> flat_cut_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<AxisCut> cuts, int bytes_per_element) {
  return std::make_shared<FlatCutSource>(std::move(base), std::move(sizes),
                                         std::move(cuts), bytes_per_element);
}

}  // namespace kvtape
