#include "ops/flaw_edit.h"

#include <cstring>
#include <utility>

#include "kvtape/error.h"

namespace kvtape {
namespace {

std::size_t element_bytes(const Tensor& tensor) {
  return static_cast<std::size_t>(bytes_per_element(tensor.dtype));
}

}  // namespace

TensorEdit::TensorEdit(const Tensor& tensor) : tensor_(tensor) {
  Box whole;
  std::size_t count = element_bytes(tensor);
  for (const Axis& axis : tensor.axes) {
    whole.first.push_back(0);
    whole.count.push_back(axis.size);
    count *= static_cast<std::size_t>(axis.size);
  }
  bytes_.resize(count);
  tensor.source->read(whole, bytes_);
}

std::size_t TensorEdit::offset(const ElementAt& at) const {
  const Strides by = strides(tensor_);
  const std::int64_t element = row_offset(tensor_, at.row) +
                               at.slot * by.position + at.head * by.head +
                               at.dim * by.dim;
  return static_cast<std::size_t>(element) * element_bytes(tensor_);
}

void TensorEdit::set_bits(const ElementAt& at, std::uint64_t bits) {
  std::memcpy(bytes_.data() + offset(at), &bits, element_bytes(tensor_));
}

std::uint64_t TensorEdit::bits(const ElementAt& at) const {
  std::uint64_t result = 0;
  std::memcpy(&result, bytes_.data() + offset(at), element_bytes(tensor_));
  return result;
}

void TensorEdit::copy(const TensorEdit& before, ElementAt from, ElementAt to) {
  for (std::int64_t dim = 0; dim < dims(); ++dim) {
    from.dim = to.dim = dim;
    set_bits(to, before.bits(from));
  }
}

void TensorEdit::clear(ElementAt at) {
  for (at.dim = 0; at.dim < dims(); ++at.dim) set_bits(at, 0);
}

Tensor TensorEdit::done() const {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor_.axes) sizes.push_back(axis.size);
  Tensor result = tensor_;
  result.source =
      make_source(bytes_, std::move(sizes), bytes_per_element(tensor_.dtype));
  return result;
}

std::uint64_t nan_bits(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x7ff8000000000000U;
    case DType::kF16:
      return 0x7e00;
    case DType::kBF16:
      return 0x7fc0;
    default:
      return 0x7fc00000;
  }
}

std::uint64_t infinity_bits(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x7ff0000000000000U;
    case DType::kF16:
      return 0x7c00;
    case DType::kBF16:
      return 0x7f80;
    default:
      return 0x7f800000;
  }
}

}  // namespace kvtape
