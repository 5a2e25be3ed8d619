// Sums of products over named axes.
#include <algorithm>
#include <array>

#include "kvtape/error.h"
#include "systems/penzai_array.h"

namespace kvtape::penzai {
namespace {

constexpr std::int64_t kLanes = 8;

// Lane i mod 8, folded as the kernels of attention do. Axes of `count` numbers
// are in the same order for every caller, so equal rows give equal bits.
double dot(const double* a, const double* b, std::int64_t count) {
  std::array<double, kLanes> sum{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane)
      sum[static_cast<std::size_t>(lane)] += a[i + lane] * b[i + lane];
  for (std::int64_t lane = 0; i + lane < count; ++lane)
    sum[static_cast<std::size_t>(lane)] += a[i + lane] * b[i + lane];
  for (std::size_t half = kLanes / 2; half > 0; half /= 2)
    for (std::size_t lane = 0; lane < half; ++lane)
      sum[lane] += sum[lane + half];
  return sum[0];
}

// The axes of these names, in their order, which both arrays have.
NamedShape summed_axes(const std::vector<std::string>& names,
                       const Values& left, const Values& right) {
  NamedShape result;
  for (const std::string& name : names) {
    const auto size = size_of(left.axes, name);
    const auto other = size_of(right.axes, name);
    if (!size || !other || *size != *other)
      throw Error(
          {.field = "axis '" + name + "'",
           .expected = "the same size in both",
           .found = dict_text(left.axes) + " and " + dict_text(right.axes)});
    result.push_back({.name = name, .size = *size});
  }
  return result;
}

NamedShape joined(NamedShape first, const NamedShape& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

Values contract(const std::vector<std::string>& names, const Values& left,
                const Values& right) {
  const NamedShape summed = summed_axes(names, left, right);
  const NamedShape left_axes = without(left.axes, names);
  const NamedShape right_axes = without(right.axes, names);
  const NamedShape result_axes = all_axes("tensordot", left_axes, right_axes);
  NamedShape shared, rows, columns;
  for (const NamedAxis& axis : left_axes)
    (size_of(right_axes, axis.name) ? shared : rows).push_back(axis);
  for (const NamedAxis& axis : right_axes)
    if (!size_of(left_axes, axis.name)) columns.push_back(axis);
  const Values a = ordered(left, joined(joined(shared, rows), summed));
  const Values b = ordered(right, joined(joined(shared, columns), summed));
  Values out{.dtype = promoted(left.dtype, right.dtype),
             .axes = joined(joined(shared, rows), columns)};
  out.values.resize(static_cast<std::size_t>(count_of(out.axes)));
  const std::int64_t blocks = count_of(shared);
  const std::int64_t depth = count_of(summed);
  const std::int64_t height = count_of(rows);
  const std::int64_t width = count_of(columns);
  double* to = out.values.data();
  for (std::int64_t block = 0; block < blocks; ++block)
    for (std::int64_t row = 0; row < height; ++row)
      for (std::int64_t column = 0; column < width; ++column)
        *to++ = rounded(
            dot(a.values.data() + (block * height + row) * depth,
                b.values.data() + (block * width + column) * depth, depth),
            out.dtype);
  return ordered(out, result_axes);
}

}  // namespace kvtape::penzai
