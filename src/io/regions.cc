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

std::int64_t offset_of(const Sizes& index, std::span<const std::int64_t> origin,
                       const Sizes& strides) {
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis)
    offset += (index[axis] - origin[axis]) * strides[axis];
  return offset;
}

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
  const std::size_t rank = chunk.size();
  Sizes first(rank);
  Sizes last(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    first[axis] = std::max(origin[axis], box.first[axis]);
    last[axis] = std::min(origin[axis] + chunk[axis],
                          box.first[axis] + box.count[axis]) -
                 1;
  }
  // Runs along the last axis.
  const std::int64_t run = last[rank - 1] - first[rank - 1] + 1;
  last[rank - 1] = first[rank - 1];
  const Sizes from = strides_of(chunk);
  const Sizes to = strides_of(box.count);
  Sizes index = first;
  do
    std::memcpy(out + offset_of(index, box.first, to) * bytes_per_element,
                data + offset_of(index, origin, from) * bytes_per_element,
                static_cast<std::size_t>(run * bytes_per_element));
  while (advance(index, first, last));
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
