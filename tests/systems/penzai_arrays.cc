#include "systems/penzai_arrays.h"

#include <cmath>
#include <limits>
#include <random>

#include "systems/goldens.h"
#include "systems/slab_copy.h"

namespace kvtape::penzai::test {

NamedArray recorded(const nlohmann::json& array,
                    const std::vector<std::string>& axes) {
  const auto flat = kvtape::test::tensor_of(array);
  NamedShape shape;
  for (std::size_t i = 0; i < axes.size(); ++i)
    shape.push_back({axes[i], array["shape"][i].get<std::int64_t>()});
  const auto bytes = flat.source->bytes();
  return named_array(flat.dtype, shape, {bytes.begin(), bytes.end()});
}

NamedArray recorded(const nlohmann::json& array) {
  std::vector<std::string> axes;
  for (const auto& axis : array["axes"]) axes.push_back(axis[0]);
  return recorded(array["array"], axes);
}

NamedArray filled(const NamedShape& axes, const std::vector<double>& values,
                  DType dtype) {
  const auto size = static_cast<std::size_t>(bytes_per_element(dtype));
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i)
    store_number(values[i], dtype, bytes.data() + i * size);
  return named_array(dtype, axes, bytes);
}

NamedArray random(const NamedShape& axes, unsigned seed, DType dtype) {
  std::mt19937 bits(seed);
  std::vector<double> values(count(axes));
  for (double& value : values) value = static_cast<double>(bits()) / 0x1p31 - 1;
  return filled(axes, values, dtype);
}

std::vector<std::string> names(const NamedShape& axes) {
  std::vector<std::string> result;
  for (const NamedAxis& axis : axes) result.push_back(axis.name);
  return result;
}

std::size_t count(const NamedShape& axes) {
  std::size_t result = 1;
  for (const NamedAxis& axis : axes)
    result *= static_cast<std::size_t>(axis.size);
  return result;
}

NamedArray cut(const NamedArray& array, const std::string& axis,
               std::int64_t first, std::int64_t positions) {
  NamedShape order;
  std::int64_t length = 0;
  for (const NamedAxis& each : named_shape(array))
    if (each.name == axis)
      length = each.size;
    else
      order.push_back(each);
  order.push_back({axis, positions});
  const auto all = numbers(array, names(order));
  std::vector<double> some;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto position = static_cast<std::int64_t>(i) % length;
    if (position >= first && position < first + positions)
      some.push_back(all[i]);
  }
  return filled(order, some, array.dtype);
}

bool same(const NamedArray& a, const NamedArray& b) {
  if (a.dtype != b.dtype) return false;
  const auto order = names(named_shape(b));
  const auto x = numbers(a, order);
  const auto y = numbers(b, order);
  if (x.size() != y.size()) return false;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] != y[i] && !(std::isnan(x[i]) && std::isnan(y[i]))) return false;
  return true;
}

double excess(const NamedArray& a, const NamedArray& b, double rtol) {
  const auto order = names(named_shape(b));
  const auto x = numbers(a, order);
  const auto y = numbers(b, order);
  double largest = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    const double off = std::fabs(x[i] - y[i]) - rtol * std::fabs(y[i]);
    if (!(off <= largest))
      largest = std::isnan(off) ? std::numeric_limits<double>::infinity() : off;
  }
  return largest;
}

}  // namespace kvtape::penzai::test
