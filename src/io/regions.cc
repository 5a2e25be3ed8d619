#include "io/regions.h"

#include <algorithm>
#include <cstring>

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

Sizes strides_of(std::span<const std::int64_t> sizes) {
  Sizes strides(sizes.size());
  std::int64_t step = 1;
  for (std::size_t axis = sizes.size(); axis-- > 0; step *= sizes[axis])
    strides[axis] = step;
  return strides;
}

// Advances over [first, last] along every axis, the last axis fastest.
bool advance(Sizes& index, std::span<const std::int64_t> first,
             std::span<const std::int64_t> last) {
  for (std::size_t axis = index.size(); axis-- > 0;) {
    if (++index[axis] <= last[axis]) return true;
    index[axis] = first[axis];
  }
  return false;
}

// Copies rows of two arrays that differ in their strides; all in bytes.
struct RowCopy {
  Sizes count;  // of rows along each axis
  Sizes from;   // strides
  Sizes to;
  std::size_t bytes = 0;  // of a row

  void run(const std::byte* data, std::byte* out, std::size_t axis = 0) const {
    if (axis == count.size()) {
      std::memcpy(out, data, bytes);
      return;
    }
    for (std::int64_t row = 0; row < count[axis]; ++row)
      run(data + row * from[axis], out + row * to[axis], axis + 1);
  }
};

}  // namespace

void for_each_chunk(
    const Box& box, std::span<const std::int64_t> chunk,
    const std::function<void(std::span<const std::int64_t>)>& visit) {
  Sizes first(chunk.size());
  Sizes last(chunk.size());
  for (std::size_t axis = 0; axis < chunk.size(); ++axis) {
    first[axis] = box.first[axis] / chunk[axis];
    last[axis] = (box.first[axis] + box.count[axis] - 1) / chunk[axis];
  }
  Sizes index = first;
  do visit(index);
  while (advance(index, first, last));
}

void copy_overlap(const std::byte* data, std::span<const std::int64_t> origin,
                  std::span<const std::int64_t> chunk, const Box& box,
                  std::byte* out, int bytes_per_element) {
  RowCopy rows{.from = strides_of(chunk), .to = strides_of(box.count)};
  for (std::size_t axis = 0; axis < chunk.size(); ++axis) {
    const std::int64_t first = std::max(origin[axis], box.first[axis]);
    const std::int64_t end =
        std::min(origin[axis] + chunk[axis], box.first[axis] + box.count[axis]);
    rows.count.push_back(end - first);
    rows.from[axis] *= bytes_per_element;
    rows.to[axis] *= bytes_per_element;
    data += (first - origin[axis]) * rows.from[axis];
    out += (first - box.first[axis]) * rows.to[axis];
  }
  // A row goes on where the next axis is whole on both sides.
  std::int64_t bytes = bytes_per_element;
  for (;;) {
    const std::size_t axis = rows.count.size() - 1;
    const std::int64_t count = rows.count.back();
    rows.count.pop_back();
    bytes *= count;
    if (axis == 0 || count != chunk[axis] || count != box.count[axis]) break;
  }
  rows.bytes = static_cast<std::size_t>(bytes);
  rows.run(data, out);
}

void for_each_run(std::span<const std::int64_t> sizes, std::int64_t first,
                  std::int64_t count,
                  const std::function<void(const Box&)>& visit) {
  const Sizes strides = strides_of(sizes);
  if (sizes.empty() && count > 0) visit({});
  while (count > 0 && !sizes.empty()) {
    // The slowest axis along which a whole row starts here and fits.
    std::size_t axis = 0;
    while (first % strides[axis] != 0 || strides[axis] > count) ++axis;
    Box box;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      box.first.push_back(i <= axis ? first / strides[i] % sizes[i] : 0);
      box.count.push_back(i < axis ? 1 : i == axis ? 0 : sizes[i]);
    }
    box.count[axis] =
        std::min(sizes[axis] - box.first[axis], count / strides[axis]);
    visit(box);
    first += box.count[axis] * strides[axis];
    count -= box.count[axis] * strides[axis];
  }
}

}  // namespace kvtape
