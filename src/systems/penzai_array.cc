// Named arrays: construction, order of axes, elementwise functions.
#include "systems/penzai_array.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/box.h"
#include "core/checked.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/slab_copy.h"

namespace kvtape::penzai {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

AxisKind kind_of(const std::string& name) {
  if (name == "seq" || name == "kv_seq") return AxisKind::kPosition;
  if (name == "heads" || name == "head_groups" || name == "query_heads")
    return AxisKind::kHead;
  if (name == "projection" || name == "embedding") return AxisKind::kDim;
  return AxisKind::kBatch;
}

std::vector<Axis> tensor_axes(const NamedShape& axes) {
  std::vector<Axis> result;
  for (const NamedAxis& axis : axes)
    result.push_back(
        {.kind = kind_of(axis.name), .name = axis.name, .size = axis.size});
  return result;
}

void check_names(const NamedShape& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i)
    for (std::size_t before = 0; before < i; ++before)
      if (axes[i].name == axes[before].name)
        throw Error({.field = "axes",
                     .expected = "names that differ",
                     .found = axes[i].name + " twice"});
}

// All elements in memory order, of one layer where several are stacked.
std::vector<std::byte> packed_bytes(const Tensor& tensor) {
  std::vector<std::byte> bytes(
      at(element_count(tensor) * bytes_per_element(tensor.dtype)));
  if (bytes.empty()) return bytes;
  Box all;
  for (const Axis& axis : tensor.axes) {
    const bool layer = axis.kind == AxisKind::kLayer && tensor.layer;
    all.first.push_back(layer ? *tensor.layer : 0);
    all.count.push_back(layer ? 1 : axis.size);
  }
  tensor.source->read(all, bytes);
  return bytes;
}

// Distances between neighbours along each of `target`, in packed `source`.
std::vector<std::int64_t> strides_along(const NamedShape& source,
                                        const NamedShape& target) {
  std::vector<std::int64_t> strides(target.size(), 0);
  std::int64_t stride = 1;
  for (std::size_t i = source.size(); i-- > 0;) {
    for (std::size_t axis = 0; axis < target.size(); ++axis)
      if (target[axis].name == source[i].name) strides[axis] = stride;
    stride *= source[i].size;
  }
  return strides;
}

// Elements of `source` in C order of `target`; `to` has as many as that takes.
template <typename T>
void gather(const T* from, const NamedShape& source, const NamedShape& target,
            T* to) {
  const std::int64_t count = count_of(target);
  if (count == 0) return;
  const auto strides = strides_along(source, target);
  std::vector<std::int64_t> index(target.size(), 0);
  const std::int64_t run = target.empty() ? 1 : target.back().size;
  const std::int64_t step = target.empty() ? 0 : strides.back();
  for (std::int64_t done = 0; done < count; done += run) {
    for (std::int64_t i = 0; i < run; ++i) *to++ = from[i * step];
    for (std::size_t axis = target.size(); axis-- > 1;) {
      from += strides[axis - 1];
      if (++index[axis - 1] < target[axis - 1].size) break;
      from -= strides[axis - 1] * target[axis - 1].size;
      index[axis - 1] = 0;
    }
  }
}

template <typename T>
void gather_as(const std::vector<std::byte>& from, const NamedShape& source,
               const NamedShape& target, std::vector<std::byte>& to) {
  gather(reinterpret_cast<const T*>(from.data()), source, target,
         reinterpret_cast<T*>(to.data()));
}

std::vector<std::byte> bytes_in_order(const NamedArray& array,
                                      const NamedShape& target) {
  const std::vector<std::byte> bytes = packed_bytes(array);
  const int size = bytes_per_element(array.dtype);
  std::vector<std::byte> result(at(count_of(target) * size));
  const NamedShape source = named_shape(array);
  if (size == 8) gather_as<std::uint64_t>(bytes, source, target, result);
  if (size == 4) gather_as<std::uint32_t>(bytes, source, target, result);
  if (size == 2) gather_as<std::uint16_t>(bytes, source, target, result);
  if (size == 1) gather_as<std::uint8_t>(bytes, source, target, result);
  return result;
}

}  // namespace

NamedArray named_array(DType dtype, const NamedShape& axes,
                       std::vector<std::byte> bytes) {
  check_names(axes);
  return make_tensor(dtype, tensor_axes(axes), std::move(bytes));
}

NamedArray zeros(const NamedShape& axes, DType dtype) {
  return named_array(
      dtype, axes,
      std::vector<std::byte>(at(count_of(axes) * bytes_per_element(dtype))));
}

NamedArray arange(const std::string& axis, std::int64_t size,
                  std::int64_t first) {
  Values values{.dtype = DType::kI32, .axes = {{axis, size}}};
  values.values.reserve(at(count_of(values.axes)));
  for (std::int64_t i = 0; i < size; ++i)
    values.values.push_back(static_cast<double>(first + i));
  return array_of(values);
}

NamedArray scalar(std::int64_t value) {
  return array_of(
      {.dtype = DType::kI32, .values = {static_cast<double>(value)}});
}

NamedShape named_shape(const NamedArray& array) {
  NamedShape result;
  for (const Axis& axis : array.axes)
    if (axis.kind != AxisKind::kLayer || !array.layer)
      result.push_back({.name = axis.name, .size = axis.size});
  return result;
}

std::vector<double> numbers(const NamedArray& array,
                            const std::vector<std::string>& axes) {
  const Values values = values_of(array);
  NamedShape target;
  for (const std::string& name : axes)
    if (const auto size = size_of(values.axes, name))
      target.push_back({.name = name, .size = *size});
  check_names(target);
  if (target.size() != axes.size() || axes.size() != values.axes.size())
    throw Error({.field = "axes",
                 .expected = "those of " + dict_text(values.axes),
                 .found = dict_text(target)});
  return ordered(values, target).values;
}

Values values_of(const NamedArray& array) {
  if (array.quantized()) return values_of(tensor_of(kvtape::array_of(array)));
  Values result{.dtype = array.dtype, .axes = named_shape(array)};
  const std::vector<std::byte> bytes = packed_bytes(array);
  const auto size = at(bytes_per_element(array.dtype));
  result.values.resize(bytes.size() / size);
  for (std::size_t i = 0; i < result.values.size(); ++i)
    result.values[i] = load_number(array.dtype, bytes.data() + i * size);
  return result;
}

NamedArray array_of(const Values& values) {
  const auto size = at(bytes_per_element(values.dtype));
  std::vector<std::byte> bytes(values.values.size() * size);
  for (std::size_t i = 0; i < values.values.size(); ++i)
    store_number(values.values[i], values.dtype, bytes.data() + i * size);
  return named_array(values.dtype, values.axes, std::move(bytes));
}

std::optional<std::int64_t> size_of(const NamedShape& axes,
                                    const std::string& name) {
  for (const NamedAxis& axis : axes)
    if (axis.name == name) return axis.size;
  return {};
}

NamedShape all_axes(const std::string& function, const NamedShape& a,
                    const NamedShape& b) {
  NamedShape result = a;
  for (const NamedAxis& axis : b) {
    const auto size = size_of(a, axis.name);
    if (!size) result.push_back(axis);
    if (size && *size != axis.size)
      throw Error({.text = "Inconsistent named axes in a call to nmap(" +
                           function + ") for axes ['" + axis.name +
                           "']: args[0].named_shape == " + dict_text(a) +
                           ", args[1].named_shape == " + dict_text(b)});
  }
  return result;
}

NamedShape without(const NamedShape& axes,
                   const std::vector<std::string>& names) {
  NamedShape result;
  for (const NamedAxis& axis : axes)
    if (std::find(names.begin(), names.end(), axis.name) == names.end())
      result.push_back(axis);
  return result;
}

std::int64_t count_of(const NamedShape& axes) {
  std::vector<std::int64_t> sizes;
  for (const NamedAxis& axis : axes) sizes.push_back(axis.size);
  const auto count = checked_product(sizes);
  if (!count || *count > kMostElements)
    throw Error({.field = "shape",
                 .expected = "sizes that are not negative and fit 48 bits",
                 .found = dict_text(axes)});
  return *count;
}

std::string dict_text(const NamedShape& axes) {
  std::string result = "{";
  for (const NamedAxis& axis : axes) {
    if (result.size() > 1) result += ", ";
    result += "'" + axis.name + "': " + std::to_string(axis.size);
  }
  return result + "}";
}

Values ordered(const Values& values, const NamedShape& axes) {
  if (axes == values.axes) return values;
  Values result{.dtype = values.dtype, .axes = axes};
  result.values.resize(at(count_of(axes)));
  gather(values.values.data(), values.axes, axes, result.values.data());
  return result;
}

DType promoted(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::kF64 || b == DType::kF64) return DType::kF64;
  return DType::kF32;
}

double rounded(double value, DType dtype) {
  if (dtype == DType::kF64) return value;
  if (dtype == DType::kF32)
    return static_cast<double>(static_cast<float>(value));
  std::byte bytes[sizeof(double)];
  store_number(value, dtype, bytes);
  return load_number(dtype, bytes);
}

Values combined(const std::string& name, const Values& a, const Values& b,
                DType dtype,
                const std::function<double(double, double)>& function) {
  Values result = ordered(a, all_axes(name, a.axes, b.axes));
  const Values second = ordered(b, result.axes);
  for (std::size_t i = 0; i < result.values.size(); ++i)
    result.values[i] =
        rounded(function(result.values[i], second.values[i]), dtype);
  result.dtype = dtype;
  return result;
}

NamedArray dynamic_update_slice(const NamedArray& operand,
                                const NamedArray& update,
                                const std::string& axis, std::int64_t start) {
  const NamedShape old = named_shape(operand);
  const NamedShape block = named_shape(update);
  const auto length = size_of(old, axis);
  const auto count = size_of(block, axis);
  if (!length || !count)
    throw Error({.field = "axes",
                 .expected = "an axis '" + axis + "'",
                 .found = dict_text(length ? block : old)});
  NamedShape axes = all_axes("dynamic_update_slice", without(old, {axis}),
                             without(block, {axis}));
  check_update_shape({{*length}}, {{*count}});
  if (operand.dtype != update.dtype)
    throw Error({.text = "lax.dynamic_update_slice requires arguments to have "
                         "the same dtypes, got " +
                         std::string(name(operand.dtype)) + ", " +
                         std::string(name(update.dtype)) + "."});
  axes.push_back({.name = axis, .size = *count});
  const std::vector<std::byte> bytes = bytes_in_order(update, axes);
  Box box{.first = std::vector<std::int64_t>(axes.size(), 0)};
  for (const NamedAxis& each : axes) box.count.push_back(each.size);
  box.first.back() = clamped_start(start, *length, *count);
  axes.back().size = *length;
  std::vector<std::int64_t> sizes = box.count;
  sizes.back() = *length;
  std::vector<std::byte> result = bytes_in_order(operand, axes);
  paste_box(bytes, box, sizes, bytes_per_element(operand.dtype), result.data());
  Tensor tensor = named_array(operand.dtype, axes, std::move(result));
  tensor.axes.back().kind = AxisKind::kPosition;
  return tensor;
}

}  // namespace kvtape::penzai
