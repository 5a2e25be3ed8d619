#include "ops/compare_tensors.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "systems/array.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

std::string_view axis_word(AxisKind kind) {
  switch (kind) {
    case AxisKind::kBatch:
      return "row";
    case AxisKind::kPosition:
      return "position";
    case AxisKind::kToken:
      return "token";
    case AxisKind::kHead:
      return "head";
    case AxisKind::kDim:
      return "dim";
    case AxisKind::kLayer:
      return "layer";
  }
  return "?";
}

// "row 0 position 5 head 1 dim 2" of the element of that number.
std::string place(const std::vector<Axis>& axes, std::int64_t element) {
  std::string text;
  std::int64_t rest = element;
  for (std::size_t i = axes.size(); i-- > 0;) {
    text = fmt::format("{} {}{}{}", axis_word(axes[i].kind),
                       rest % axes[i].size, text.empty() ? "" : " ", text);
    rest /= axes[i].size;
  }
  return text;
}

std::string number_text(DType dtype, const std::byte* at) {
  const double number = load_number(dtype, at);
  return dtype == DType::kF64 ? fmt::format("{}", number)
                              : fmt::format("{}", static_cast<float>(number));
}

bool is_nan(DType dtype, const std::byte* at) {
  return is_float(dtype) && std::isnan(load_number(dtype, at));
}

void compare_arrays(const Array& expected, const Array& found,
                    FinalComparison& comparison) {
  const auto size = static_cast<std::size_t>(bytes_per_element(found.dtype));
  const std::size_t count = found.bytes.size() / size;
  comparison.compared = static_cast<std::int64_t>(count);
  if (expected.bytes == found.bytes) return;
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* a = expected.bytes.data() + i * size;
    const std::byte* b = found.bytes.data() + i * size;
    if (std::memcmp(a, b, size) == 0) continue;
    if (is_nan(found.dtype, a) && is_nan(found.dtype, b)) continue;
    if (comparison.differing++ == 0)
      comparison.first =
          fmt::format("{}: expected {}, found {}",
                      place(found.axes, static_cast<std::int64_t>(i)),
                      number_text(found.dtype, a), number_text(found.dtype, b));
  }
}

std::vector<std::byte> flat_bytes(const SlabSource& source, std::int64_t count,
                                  int size) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count * size));
  source.read({{0}, {count}}, bytes);
  return bytes;
}

void compare_flat(const SlabSource& expected, const SlabSource& found,
                  std::int64_t count, int size, const char* what,
                  FinalComparison& comparison) {
  const auto a = flat_bytes(expected, count, size);
  const auto b = flat_bytes(found, count, size);
  comparison.compared += count;
  const auto step = static_cast<std::size_t>(size);
  for (std::size_t i = 0; i < a.size(); i += step)
    if (std::memcmp(&a[i], &b[i], step) != 0 && comparison.differing++ == 0)
      comparison.first = fmt::format("{} {}", what, i / step);
}

void compare_codes(const Tensor& recorded, const Tensor& found,
                   FinalComparison& comparison) {
  const Quantization& a = recorded.quantization;
  const Quantization& b = found.quantization;
  if (a.scheme != b.scheme || a.block_size != b.block_size ||
      a.payload_count != b.payload_count || a.scale_count != b.scale_count) {
    comparison.first = "quantization: expected another";
    return;
  }
  compare_flat(*recorded.source, *found.source, a.payload_count, 1,
               "byte of codes", comparison);
  compare_flat(*a.scales, *b.scales, a.scale_count,
               bytes_per_element(a.scale_dtype), "scale", comparison);
}

// Sizes without those that are 1.
std::vector<std::int64_t> broad_sizes(const Tensor& tensor) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes)
    if (axis.size != 1) sizes.push_back(axis.size);
  return sizes;
}

std::array<std::int64_t, 5> extents(const Tensor& tensor) {
  return {extent(tensor, AxisKind::kBatch), extent(tensor, AxisKind::kPosition),
          extent(tensor, AxisKind::kToken), extent(tensor, AxisKind::kHead),
          extent(tensor, AxisKind::kDim)};
}

}  // namespace

FinalComparison compare_tensors(const std::string& object,
                                const Tensor& recorded, const Tensor& found) {
  FinalComparison comparison{.object = object};
  if (recorded.dtype != found.dtype) {
    comparison.first = fmt::format("dtype: expected {}, found {}",
                                   name(recorded.dtype), name(found.dtype));
  } else if (extents(recorded) != extents(found)) {
    comparison.first = fmt::format("shape: expected {}, found {}",
                                   shape_text(recorded), shape_text(found));
  } else if (recorded.quantized() && found.quantized()) {
    compare_codes(recorded, found, comparison);
  } else if (recorded.quantized()) {
    comparison.first = "quantization: expected one, found none";
  } else {
    compare_arrays(array_of(recorded), array_of(found), comparison);
  }
  return comparison;
}

FinalComparison compare_integer_tensors(const std::string& object,
                                        const Tensor& recorded,
                                        const Tensor& found) {
  FinalComparison comparison{.object = object};
  if (broad_sizes(recorded) != broad_sizes(found)) {
    comparison.first = fmt::format("shape: expected {}, found {}",
                                   shape_text(recorded), shape_text(found));
    return comparison;
  }
  const auto a = integers(recorded);
  const auto b = integers(found);
  comparison.compared = std::ssize(b);
  for (std::size_t i = 0; i < b.size(); ++i)
    if (a[i] != b[i] && comparison.differing++ == 0)
      comparison.first = fmt::format(
          "{}: expected {}, found {}",
          place(found.axes, static_cast<std::int64_t>(i)), a[i], b[i]);
  return comparison;
}

}  // namespace kvtape
