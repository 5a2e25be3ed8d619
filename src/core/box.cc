#include "core/box.h"

#include <cstring>
#include <string>
#include <vector>

#include "core/checked.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

[[noreturn]] void fail_outside(std::size_t axis, std::int64_t first,
                               std::int64_t count, std::int64_t size) {
  throw Error({.field = "range along axis " + std::to_string(axis),
               .expected = "inside [0, " + std::to_string(size) + ")",
               .found = "[" + std::to_string(first) + ", +" +
                        std::to_string(count) + ")"});
}

// Axes from here on are taken whole: their rows are one run of bytes.
std::size_t first_whole_axis(std::span<const std::int64_t> sizes,
                             const Box& box) {
  std::size_t axis = sizes.size();
  while (axis > 0 && box.count[axis - 1] == sizes[axis - 1]) --axis;
  return axis;
}

// Advances an index over the counts of the first `axes` axes, last fastest.
bool advance(std::vector<std::int64_t>& index, const Box& box,
             std::size_t axes) {
  for (std::size_t axis = axes; axis-- > 0;) {
    if (++index[axis] < box.count[axis]) return true;
    index[axis] = 0;
  }
  return false;
}

// The same as for_each_row(), of any function.
template <typename Visit>
void visit_rows(std::span<const std::int64_t> sizes, const Box& box,
                const Visit& visit) {
  // The run: the last axis that is cut, and all whole axes after it.
  const std::size_t whole = first_whole_axis(sizes, box);
  const std::size_t outer = whole == 0 ? 0 : whole - 1;
  std::vector<std::int64_t> stride(sizes.size());
  std::int64_t step = 1;
  for (std::size_t axis = sizes.size(); axis-- > 0; step *= sizes[axis])
    stride[axis] = step;
  const std::int64_t run = whole == 0 ? step : box.count[outer] * stride[outer];
  std::int64_t base = whole == 0 ? 0 : box.first[outer] * stride[outer];
  for (std::size_t axis = 0; axis < outer; ++axis)
    base += box.first[axis] * stride[axis];

  std::vector<std::int64_t> index(outer, 0);
  do {
    std::int64_t at = base;
    for (std::size_t axis = 0; axis < outer; ++axis)
      at += index[axis] * stride[axis];
    visit(at, run);
  } while (advance(index, box, outer));
}

}  // namespace

void check_box(const Box& box, std::span<const std::int64_t> sizes,
               int bytes_per_element, std::size_t bytes) {
  if (box.first.size() != sizes.size() || box.count.size() != sizes.size())
    throw Error({.field = "range",
                 .expected = std::to_string(sizes.size()) + " axes",
                 .found = std::to_string(box.first.size())});
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t first = box.first[axis];
    const std::int64_t count = box.count[axis];
    if (first < 0 || count < 0 || count > sizes[axis] ||
        first > sizes[axis] - count)
      fail_outside(axis, first, count, sizes[axis]);
  }
  const auto count = checked_product(box.count);
  const auto needed = count ? checked_mul(*count, bytes_per_element) : count;
  if (!needed || static_cast<std::size_t>(*needed) != bytes)
    throw Error({.field = "slab",
                 .expected = needed ? std::to_string(*needed) + " bytes"
                                    : "a size that fits 63 bits",
                 .found = std::to_string(bytes) + " bytes"});
}

void for_each_row(
    std::span<const std::int64_t> sizes, const Box& box,
    const std::function<void(std::int64_t, std::int64_t)>& visit) {
  visit_rows(sizes, box, visit);
}

void copy_box(const std::byte* data, std::span<const std::int64_t> sizes,
              int bytes_per_element, const Box& box, std::span<std::byte> out) {
  if (out.empty()) return;
  std::byte* to = out.data();
  visit_rows(sizes, box, [&](std::int64_t first, std::int64_t count) {
    const std::int64_t bytes = count * bytes_per_element;
    std::memcpy(to, data + first * bytes_per_element,
                static_cast<std::size_t>(bytes));
    to += bytes;
  });
}

void paste_box(std::span<const std::byte> data, const Box& box,
               std::span<const std::int64_t> sizes, int bytes_per_element,
               std::byte* out) {
  if (data.empty()) return;
  const std::byte* from = data.data();
  visit_rows(sizes, box, [&](std::int64_t first, std::int64_t count) {
    const std::int64_t bytes = count * bytes_per_element;
    std::memcpy(out + first * bytes_per_element, from,
                static_cast<std::size_t>(bytes));
    from += bytes;
  });
}

}  // namespace kvtape
