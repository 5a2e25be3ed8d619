// Extents, strides and offsets of tensors; sources that own their bytes.
#include "kvtape/tensor.h"

#include <cstring>
#include <limits>
#include <utility>

#include "core/box.h"
#include "core/checked.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

class MemorySource final : public SlabSource {
 public:
  MemorySource(std::vector<std::byte> bytes, std::vector<std::int64_t> sizes,
               int bytes_per_element)
      : bytes_(std::move(bytes)),
        sizes_(std::move(sizes)),
        bytes_per_element_(bytes_per_element) {}

  std::span<const std::byte> bytes() const override { return bytes_; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element_, out.size());
    copy_box(bytes_.data(), sizes_, bytes_per_element_, box, out);
  }

  Storage storage() const override {
    return {.layout = "memory",
            .filters = "",
            .stored_bytes = static_cast<std::int64_t>(bytes_.size())};
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::int64_t> sizes_;
  int bytes_per_element_;
};

std::vector<std::int64_t> sizes_of(const std::vector<Axis>& axes) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : axes) sizes.push_back(axis.size);
  return sizes;
}

template <typename T>
std::vector<std::int64_t> widened(const std::vector<std::byte>& bytes) {
  std::vector<std::int64_t> result(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < result.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    if constexpr (sizeof(T) == 8 && !std::numeric_limits<T>::is_signed)
      if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max()))
        throw Error({.field = "element " + std::to_string(i),
                     .expected = "an integer below 2^63",
                     .found = std::to_string(value)});
    result[i] = static_cast<std::int64_t>(value);
  }
  return result;
}

std::vector<std::int64_t> widened(DType dtype,
                                  const std::vector<std::byte>& bytes) {
  switch (dtype) {
    case DType::kI64:
      return widened<std::int64_t>(bytes);
    case DType::kI32:
      return widened<std::int32_t>(bytes);
    case DType::kI16:
      return widened<std::int16_t>(bytes);
    case DType::kI8:
      return widened<std::int8_t>(bytes);
    case DType::kU64:
      return widened<std::uint64_t>(bytes);
    case DType::kU32:
      return widened<std::uint32_t>(bytes);
    case DType::kU16:
      return widened<std::uint16_t>(bytes);
    case DType::kU8:
    case DType::kBool:
      return widened<std::uint8_t>(bytes);
    case DType::kF64:
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  throw Error({.field = "dtype",
               .expected = "integers",
               .found = std::string(name(dtype))});
}

}  // namespace

std::int64_t extent(const Tensor& tensor, AxisKind kind) {
  std::int64_t result = 1;
  for (const Axis& axis : tensor.axes)
    if (axis.kind == kind) result *= axis.size;
  return result;
}

bool has_axis(const Tensor& tensor, AxisKind kind) {
  for (const Axis& axis : tensor.axes)
    if (axis.kind == kind) return true;
  return false;
}

std::int64_t element_count(const Tensor& tensor) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes)
    if (axis.kind != AxisKind::kLayer) sizes.push_back(axis.size);
  const auto count = checked_product(sizes);
  if (!count)
    throw Error({.field = "shape",
                 .expected = "a product that fits 63 bits",
                 .found = shape_text(tensor)});
  return *count;
}

std::int64_t payload_bytes(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  if (!tensor.quantized())
    return element_count(tensor) * bytes_per_element(tensor.dtype);
  return q.payload_count * bytes_per_element(q.payload_dtype) +
         q.scale_count * bytes_per_element(q.scale_dtype);
}

std::string shape_text(const Tensor& tensor) {
  std::string result = "[";
  for (const Axis& axis : tensor.axes) {
    if (axis.kind == AxisKind::kLayer) continue;
    if (result.size() > 1) result += ", ";
    result += std::to_string(axis.size);
  }
  return result + "]";
}

Strides strides(const Tensor& tensor) {
  Strides result;
  std::int64_t step = 1;
  for (std::size_t i = tensor.axes.size(); i-- > 0;) {
    const Axis& axis = tensor.axes[i];
    if (axis.kind == AxisKind::kPosition || axis.kind == AxisKind::kToken)
      result.position = step;
    if (axis.kind == AxisKind::kHead) result.head = step;
    if (axis.kind == AxisKind::kDim) result.dim = step;
    step *= axis.size;
  }
  return result;
}

std::int64_t row_offset(const Tensor& tensor, std::int64_t row) {
  std::int64_t result = 0;
  std::int64_t step = 1;
  for (std::size_t i = tensor.axes.size(); i-- > 0;) {
    const Axis& axis = tensor.axes[i];
    if (axis.kind == AxisKind::kBatch) {
      result += row % axis.size * step;
      row /= axis.size;
    } else if (axis.kind == AxisKind::kLayer) {
      result += tensor.layer.value_or(0) * step;
    }
    step *= axis.size;
  }
  return result;
}

Tensor make_tensor(DType dtype, std::vector<Axis> axes,
                   std::vector<std::byte> bytes) {
  const int size = bytes_per_element(dtype);
  const auto count = checked_product(sizes_of(axes));
  const auto needed = count ? checked_mul(*count, size) : count;
  if (!needed || static_cast<std::size_t>(*needed) != bytes.size())
    throw Error({.field = "bytes",
                 .expected = needed ? std::to_string(*needed)
                                    : "a size that fits 63 bits",
                 .found = std::to_string(bytes.size())});
  auto source = make_source(std::move(bytes), sizes_of(axes), size);
  return {.dtype = dtype,
          .axes = std::move(axes),
          .source = std::move(source),
          .layer = {},
          .quantization = {}};
}

std::shared_ptr<const SlabSource> make_source(std::vector<std::byte> bytes,
                                              std::vector<std::int64_t> sizes,
                                              int bytes_per_element) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(sizes),
                                        bytes_per_element);
}

std::vector<std::int64_t> integers(const Tensor& tensor) {
  Box box;
  for (const Axis& axis : tensor.axes) {
    const bool stacked = axis.kind == AxisKind::kLayer;
    box.first.push_back(stacked ? tensor.layer.value_or(0) : 0);
    box.count.push_back(stacked ? 1 : axis.size);
  }
  if (is_float(tensor.dtype)) return widened(tensor.dtype, {});  // throws
  std::vector<std::byte> bytes(static_cast<std::size_t>(
      element_count(tensor) * bytes_per_element(tensor.dtype)));
  tensor.source->read(box, bytes);
  return widened(tensor.dtype, bytes);
}

}  // namespace kvtape
