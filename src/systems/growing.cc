// Growth in chunks that double and never move.
#include "systems/growing.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "core/box.h"
#include "core/checked.h"
#include "core/slab.h"
#include "kvtape/error.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

// Positions of the first chunk, if the first append brings fewer.
constexpr std::int64_t kFirstPositions = 16;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Positions of `position_bytes` each. Chunk 0 holds the first ones; each later
// chunk holds as many as all before it. A chunk never moves, so that readers of
// earlier positions need not know of later ones.
class Rope {
 public:
  Rope(std::int64_t position_bytes, std::int64_t first)
      : position_bytes_(position_bytes), first_(first) {}

  struct Run {
    std::byte* data = nullptr;
    std::int64_t positions = 0;
  };

  // Where a position lies, and how many from there on lie in one piece.
  Run run(std::int64_t position) const {
    const int chunk = chunk_of(position);
    const std::int64_t begin = begin_of(chunk);
    return {
        .data = chunks_[at(chunk)].get() + (position - begin) * position_bytes_,
        .positions = begin_of(chunk + 1) - position};
  }

  // Takes positions [length, length + count) for the one that asks first.
  bool claim(std::int64_t length, std::int64_t count) {
    if (!used_.compare_exchange_strong(length, length + count)) return false;
    for (int chunk = 0; begin_of(chunk) < length + count; ++chunk)
      if (!chunks_[at(chunk)]) chunks_[at(chunk)] = allocated(chunk);
    return true;
  }

 private:
  int chunk_of(std::int64_t position) const {
    return static_cast<int>(
        std::bit_width(static_cast<std::uint64_t>(position / first_)));
  }
  std::int64_t begin_of(int chunk) const {
    return chunk == 0 ? 0 : first_ << (chunk - 1);
  }
  std::unique_ptr<std::byte[]> allocated(int chunk) const {
    const auto bytes =
        checked_mul(begin_of(chunk + 1) - begin_of(chunk), position_bytes_);
    if (!bytes)
      throw Error({.field = "size",
                   .expected = "bytes that fit 63 bits",
                   .found = "more"});
    return std::make_unique_for_overwrite<std::byte[]>(at(*bytes));
  }

  std::int64_t position_bytes_;
  std::int64_t first_;
  std::atomic<std::int64_t> used_ = 0;
  std::array<std::unique_ptr<std::byte[]>, 48> chunks_;
};

// The first positions of a rope: sizes[0] of them.
class RopeSource final : public SlabSource {
 public:
  RopeSource(std::shared_ptr<Rope> rope, std::vector<std::int64_t> sizes,
             int bytes_per_element)
      : rope_(std::move(rope)),
        sizes_(std::move(sizes)),
        bytes_per_element_(bytes_per_element) {}

  const std::shared_ptr<Rope>& rope() const { return rope_; }

  std::span<const std::byte> bytes() const override {
    if (total_bytes() == 0) return {};
    const Rope::Run run = rope_->run(0);
    if (run.positions < sizes_[0]) return {};
    return {run.data, total_bytes()};
  }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element_, out.size());
    if (out.empty()) return;
    const std::size_t position_bytes = out.size() / at(box.count[0]);
    for (std::int64_t done = 0; done < box.count[0];) {
      const Rope::Run run = rope_->run(box.first[0] + done);
      const std::int64_t count = std::min(run.positions, box.count[0] - done);
      Box part = box;
      part.first[0] = 0;
      part.count[0] = count;
      std::vector<std::int64_t> sizes = sizes_;
      sizes[0] = run.positions;
      copy_box(
          run.data, sizes, bytes_per_element_, part,
          out.subspan(at(done) * position_bytes, at(count) * position_bytes));
      done += count;
    }
  }

  Storage storage() const override {
    return {.layout = "memory",
            .filters = "",
            .stored_bytes = static_cast<std::int64_t>(total_bytes())};
  }

 private:
  std::size_t total_bytes() const {
    return at(*checked_product(sizes_) * bytes_per_element_);
  }

  std::shared_ptr<Rope> rope_;
  std::vector<std::int64_t> sizes_;
  int bytes_per_element_;
};

std::vector<std::int64_t> sizes_of(const std::vector<Axis>& axes) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : axes) sizes.push_back(axis.size);
  return sizes;
}

Axis& position_of(std::vector<Axis>& axes) {
  return *std::find_if(axes.begin(), axes.end(), [](const Axis& axis) {
    return axis.kind == AxisKind::kPosition || axis.kind == AxisKind::kToken;
  });
}

// The same axes with position as the slowest, in canonical order.
std::vector<Axis> grown_axes(const Tensor& past) {
  std::vector<Axis> axes = past.axes;
  Axis position = position_of(axes);
  position.kind = AxisKind::kPosition;
  std::vector<Axis> result{position};
  for (AxisKind kind : {AxisKind::kBatch, AxisKind::kHead, AxisKind::kDim})
    for (const Axis& axis : axes)
      if (axis.kind == kind) result.push_back(axis);
  return result;
}

std::shared_ptr<Rope> rope_of(const Tensor& tensor, DType dtype) {
  if (tensor.dtype != dtype) return nullptr;
  const auto* source = dynamic_cast<const RopeSource*>(tensor.source.get());
  return source == nullptr ? nullptr : source->rope();
}

// Packed [position, batch, head, dim], the layout of a rope.
void write_run(const Tensor& rows, std::int64_t first, std::int64_t count,
               DType dtype, std::byte* to) {
  const std::int64_t batch = extent(rows, AxisKind::kBatch);
  const std::int64_t row_bytes = extent(rows, AxisKind::kHead) *
                                 extent(rows, AxisKind::kDim) *
                                 bytes_per_element(dtype);
  SlabReader reader;
  if (batch == 1)
    return copy_slab(reader.read(rows, 0, first, count), dtype, to);
  for (std::int64_t row = 0; row < batch; ++row) {
    const SlabView slab = reader.read(rows, row, first, count);
    for (std::int64_t i = 0; i < count; ++i)
      copy_slab(cut(slab, i, 1), dtype, to + (i * batch + row) * row_bytes);
  }
}

void write_rows(const Tensor& rows, std::int64_t count, DType dtype,
                std::int64_t position, const Rope& rope) {
  for (std::int64_t done = 0; done < count;) {
    const Rope::Run run = rope.run(position + done);
    const std::int64_t part = std::min(run.positions, count - done);
    write_run(rows, done, part, dtype, run.data);
    done += part;
  }
}

std::int64_t length_of(const Tensor& tensor) {
  return extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
}

Tensor tensor_of(DType dtype, std::vector<Axis> axes,
                 std::shared_ptr<Rope> rope) {
  auto source = std::make_shared<RopeSource>(std::move(rope), sizes_of(axes),
                                             bytes_per_element(dtype));
  return {.dtype = dtype, .axes = std::move(axes), .source = std::move(source)};
}

}  // namespace

Tensor growing_tensor(DType dtype, Axis position, std::vector<Axis> axes) {
  position.kind = AxisKind::kPosition;
  position.size = 0;
  axes.insert(axes.begin(), std::move(position));
  return make_tensor(dtype, std::move(axes), {});
}

Tensor concatenated(const Tensor& past, const Tensor& rows, DType dtype) {
  const std::int64_t length = length_of(past);
  const std::int64_t count = length_of(rows);
  std::vector<Axis> axes = grown_axes(past);
  axes[0].size = length + count;
  std::shared_ptr<Rope> rope = rope_of(past, dtype);
  if (!rope || !rope->claim(length, count)) {
    Tensor one{.dtype = dtype, .axes = axes};
    one.axes[0].size = 1;
    rope = std::make_shared<Rope>(payload_bytes(one),
                                  std::max(length + count, kFirstPositions));
    rope->claim(0, length + count);
    write_rows(past, length, dtype, 0, *rope);
  }
  write_rows(rows, count, dtype, length, *rope);
  return tensor_of(dtype, std::move(axes), std::move(rope));
}

}  // namespace kvtape
