// Arrays in another order of axes. Elements are reordered a window at a time,
// so that every line of memory is read about once, however far apart the
// neighbours of the result lie.
#include <algorithm>
#include <cstring>

#include "core/box.h"
#include "ops/box_parts.h"
#include "ops/tensor_sources.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

constexpr std::int64_t kWindowBytes = 64 << 20;
constexpr std::int64_t kPieceBytes = 1 << 19;  // fits the second-level cache
constexpr std::int64_t kTile = 32;

// Elements of a packed array, and where each of its axes leads in another.
struct Scatter {
  const std::byte* from = nullptr;
  Sizes sizes;    // of `from`
  Sizes strides;  // in `to`, in elements, by axes of `from`
  std::byte* to = nullptr;
};

// The axis whose neighbours lie side by side in the result; the last one where
// that is as good.
std::size_t nearest_axis(const Scatter& scatter) {
  std::size_t nearest = scatter.sizes.size() - 1;
  for (std::size_t axis = nearest; axis-- > 0;)
    if (scatter.sizes[axis] > 1 &&
        (scatter.strides[axis] < scatter.strides[nearest] ||
         scatter.sizes[nearest] == 1))
      nearest = axis;
  return nearest;
}

// Rows of `from` against columns of `to`, tile by tile.
template <typename T>
void turn(const std::byte* from, std::int64_t from_stride, std::int64_t rows,
          std::int64_t columns, std::byte* to, std::int64_t to_stride) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t row = 0; row < rows; row += kTile)
    for (std::int64_t column = 0; column < columns; column += kTile)
      for (std::int64_t c = column; c < std::min(column + kTile, columns); ++c)
        for (std::int64_t r = row; r < std::min(row + kTile, rows); ++r)
          std::memcpy(to + (c * to_stride + r) * kSize,
                      from + (r * from_stride + c) * kSize, sizeof(T));
}

template <typename T>
void scatter_elements(const Scatter& scatter) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  const std::size_t last = scatter.sizes.size() - 1;
  const std::size_t nearest = nearest_axis(scatter);
  const bool runs = nearest == last && scatter.strides[last] == 1;
  std::int64_t from_stride = 1;
  for (std::size_t axis = nearest + 1; axis <= last; ++axis)
    from_stride *= scatter.sizes[axis];
  Box one{Sizes(last + 1, 0), scatter.sizes};
  one.count[last] = one.count[nearest] = 1;
  std::int64_t from_step = 1;
  Sizes from_strides(last + 1);
  for (std::size_t axis = last + 1; axis-- > 0;
       from_step *= scatter.sizes[axis])
    from_strides[axis] = from_step;
  for_each_part(one, 1, [&](const Box& at) {
    std::int64_t from = 0;
    std::int64_t to = 0;
    for (std::size_t axis = 0; axis <= last; ++axis) {
      from += at.first[axis] * from_strides[axis];
      to += at.first[axis] * scatter.strides[axis];
    }
    const std::byte* source = scatter.from + from * kSize;
    std::byte* target = scatter.to + to * kSize;
    if (runs)
      std::memcpy(target, source,
                  static_cast<std::size_t>(scatter.sizes[last] * kSize));
    else if (nearest == last)
      for (std::int64_t i = 0; i < scatter.sizes[last]; ++i)
        std::memcpy(target + i * scatter.strides[last] * kSize,
                    source + i * kSize, sizeof(T));
    else
      turn<T>(source, from_stride, scatter.sizes[nearest], scatter.sizes[last],
              target, scatter.strides[last]);
  });
}

void scatter_elements(const Scatter& scatter, int bytes_per_element) {
  switch (bytes_per_element) {
    case 1:
      return scatter_elements<std::uint8_t>(scatter);
    case 2:
      return scatter_elements<std::uint16_t>(scatter);
    case 4:
      return scatter_elements<std::uint32_t>(scatter);
    default:
      return scatter_elements<std::uint64_t>(scatter);
  }
}

class ReorderedSource final : public SlabSource {
 public:
  ReorderedSource(std::shared_ptr<const SlabSource> base,
                  const Sizes& base_sizes, std::vector<std::size_t> order,
                  int bytes_per_element, std::shared_ptr<Window> window)
      : base_(std::move(base)),
        order_(std::move(order)),
        size_(bytes_per_element),
        window_(std::move(window)) {
    for (std::size_t axis : order_) sizes_.push_back(base_sizes[axis]);
  }

  ~ReorderedSource() override {
    const std::lock_guard lock(window_->mutex);
    if (window_->owner == this) window_->owner = nullptr;
  }

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, size_, out.size());
    if (out.empty()) return;
    const std::lock_guard lock(window_->mutex);
    for_each_row(sizes_, box, [&](std::int64_t first, std::int64_t count) {
      while (count > 0) {
        if (!holds(first)) load(first);
        const std::int64_t at = first - window_->first;
        const std::int64_t now = std::min(count, held() - at);
        const auto bytes = static_cast<std::size_t>(now * size_);
        std::memcpy(out.data(), window_->bytes.data() + at * size_, bytes);
        out = out.subspan(bytes);
        first += now;
        count -= now;
      }
    });
  }

  Storage storage() const override {
    return {.layout = "computed",
            .filters = "",
            .stored_bytes = product(sizes_) * size_};
  }

 private:
  std::int64_t held() const { return std::ssize(window_->bytes) / size_; }

  bool holds(std::int64_t element) const {
    return window_->owner == this && element >= window_->first &&
           element < window_->first + held();
  }

  // The window with an element: whole inner axes, and a part of the next one.
  Box window_box(std::int64_t element) const {
    const std::int64_t most = kWindowBytes / size_;
    std::size_t cut = sizes_.size();
    std::int64_t inner = 1;
    while (cut > 0 && inner * sizes_[cut - 1] <= most) inner *= sizes_[--cut];
    Box box{Sizes(sizes_.size(), 0), sizes_};
    if (cut == 0) return box;
    --cut;
    const std::int64_t step = std::max<std::int64_t>(1, most / inner);
    std::int64_t at = element / inner;
    box.first[cut] = at % sizes_[cut] / step * step;
    box.count[cut] = std::min(step, sizes_[cut] - box.first[cut]);
    at /= sizes_[cut];
    for (std::size_t axis = cut; axis-- > 0; at /= sizes_[axis]) {
      box.first[axis] = at % sizes_[axis];
      box.count[axis] = 1;
    }
    return box;
  }

  void load(std::int64_t element) const {
    const Box box = window_box(element);
    window_->owner = nullptr;
    window_->bytes.resize(static_cast<std::size_t>(product(box.count) * size_));
    Box from = box;
    Sizes strides(order_.size());  // by axes of the base
    std::int64_t step = 1;
    std::int64_t first = 0;
    for (std::size_t axis = order_.size(); axis-- > 0;) {
      from.first[order_[axis]] = box.first[axis];
      from.count[order_[axis]] = box.count[axis];
      strides[order_[axis]] = step;
      step *= box.count[axis];
    }
    for (std::size_t axis = 0; axis < order_.size(); ++axis)
      first = first * sizes_[axis] + box.first[axis];
    std::vector<std::byte> piece;
    for_each_part(from, kPieceBytes / size_, [&](const Box& part) {
      piece.resize(static_cast<std::size_t>(product(part.count) * size_));
      base_->read(part, piece);
      std::int64_t to = 0;
      for (std::size_t axis = 0; axis < strides.size(); ++axis)
        to += (part.first[axis] - from.first[axis]) * strides[axis];
      scatter_elements({.from = piece.data(),
                        .sizes = part.count,
                        .strides = strides,
                        .to = window_->bytes.data() + to * size_},
                       size_);
    });
    window_->owner = this;
    window_->first = first;
  }

  std::shared_ptr<const SlabSource> base_;
  std::vector<std::size_t> order_;
  Sizes sizes_;
  int size_;  // bytes of an element
  std::shared_ptr<Window> window_;
};

}  // namespace

std::shared_ptr<const SlabSource> reordered_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<std::size_t> order, int bytes_per_element,
    std::shared_ptr<Window> window) {
  return std::make_shared<ReorderedSource>(std::move(base), sizes,
                                           std::move(order), bytes_per_element,
                                           std::move(window));
}

}  // namespace kvtape
