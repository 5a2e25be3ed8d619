#include "systems/widen.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/elements.h"
#include "kernels/quantized.h"
#include "kvtape/error.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr std::int64_t kAtOnce = 1 << 16;  // elements, about

// Elements [first, first + count) of a source of one axis.
std::vector<std::byte> read_run(const SlabSource& source, std::int64_t first,
                                std::int64_t count, std::int64_t size) {
  std::vector<std::byte> result(static_cast<std::size_t>(count * size));
  const auto bytes = source.bytes();
  if (bytes.empty())
    source.read({.first = {first}, .count = {count}}, result);
  else
    std::copy_n(bytes.begin() + first * size, count * size, result.begin());
  return result;
}

void require(bool sound, const char* field, const char* expected,
             std::int64_t found) {
  if (!sound)
    throw Error({.field = field,
                 .expected = expected,
                 .found = std::to_string(found),
                 .hint = "kvtape validate tells what is wrong"});
}

class Dequantizer {
 public:
  explicit Dequantizer(const Tensor& tensor)
      : tensor_(tensor),
        int8_(tensor.quantization.scheme == Quantization::Scheme::kInt8),
        count_(element_count(tensor)),
        block_(int8_ ? extent(tensor, AxisKind::kDim)
                     : tensor.quantization.block_size) {
    check();
  }

  // Parts of whole blocks that end between two bytes of codes.
  void run(const std::function<void(std::span<const float>)>& visit) const {
    const std::int64_t unit = 2 * block_;
    const std::int64_t part = std::max<std::int64_t>(1, kAtOnce / unit) * unit;
    std::vector<float> values;
    for (std::int64_t first = 0; first < count_; first += part) {
      const std::int64_t count = std::min(part, count_ - first);
      values.resize(static_cast<std::size_t>(count));
      read(first, count, values.data());
      visit(values);
    }
  }

 private:
  void check() const {
    const Quantization& q = tensor_.quantization;
    if (!is_float(tensor_.dtype) || tensor_.dtype == DType::kF64 ||
        q.scale_dtype != tensor_.dtype)
      throw Error({.field = "dtype",
                   .expected = "f32, f16 or bf16, that of the scales",
                   .found = std::string(name(tensor_.dtype))});
    if (count_ == 0) return;
    require(block_ > 0 && count_ % block_ == 0, "block_size",
            "a divisor of the number of elements", block_);
    require(int8_ || count_ % 2 == 0, "shape", "an even number of elements",
            count_);
    require(q.payload_count == (int8_ ? count_ : count_ / 2) &&
                bytes_per_element(q.payload_dtype) == 1,
            "data", "as many codes as the shape has", q.payload_count);
    require(q.scale_count == count_ / block_, int8_ ? "scale" : "absmax",
            "one for each block", q.scale_count);
  }

  void read(std::int64_t first, std::int64_t count, float* to) const {
    const Quantization& q = tensor_.quantization;
    const kernels::Element logical = element_of(tensor_.dtype);
    const std::int64_t codes_in_byte = int8_ ? 1 : 2;
    const auto codes = read_run(*tensor_.source, first / codes_in_byte,
                                count / codes_in_byte, 1);
    const auto scales = read_run(*q.scales, first / block_, count / block_,
                                 bytes_per_element(tensor_.dtype));
    if (int8_)
      kernels::dequantize_int8(
          reinterpret_cast<const std::int8_t*>(codes.data()), scales.data(),
          logical, count / block_, block_, to);
    else
      kernels::dequantize_nf4(
          reinterpret_cast<const std::uint8_t*>(codes.data()), scales.data(),
          logical, block_, 0, count, to);
  }

  const Tensor& tensor_;
  bool int8_;
  std::int64_t count_;
  std::int64_t block_;  // elements per scale
};

template <typename T>
void add_integers(std::span<const std::byte> elements,
                  kernels::Summarizer& summarizer) {
  std::array<double, 1024> values{};
  while (!elements.empty()) {
    const std::size_t count =
        std::min(values.size(), elements.size() / sizeof(T));
    for (std::size_t i = 0; i < count; ++i)
      values[i] = static_cast<double>(
          kernels::load<T>(elements.data() + i * sizeof(T)));
    summarizer.add(values.data(), static_cast<std::int64_t>(count));
    elements = elements.subspan(count * sizeof(T));
  }
}

}  // namespace

void for_each_dequantized(
    const Tensor& tensor,
    const std::function<void(std::span<const float>)>& visit) {
  Dequantizer(tensor).run(visit);
}

void add_elements(DType dtype, std::span<const std::byte> elements,
                  kernels::Summarizer& summarizer) {
  switch (dtype) {
    case DType::kI64:
      return add_integers<std::int64_t>(elements, summarizer);
    case DType::kI32:
      return add_integers<std::int32_t>(elements, summarizer);
    case DType::kI16:
      return add_integers<std::int16_t>(elements, summarizer);
    case DType::kI8:
      return add_integers<std::int8_t>(elements, summarizer);
    case DType::kU64:
      return add_integers<std::uint64_t>(elements, summarizer);
    case DType::kU32:
      return add_integers<std::uint32_t>(elements, summarizer);
    case DType::kU16:
      return add_integers<std::uint16_t>(elements, summarizer);
    case DType::kU8:
    case DType::kBool:
      return add_integers<std::uint8_t>(elements, summarizer);
    default:
      return summarizer.add(elements.data(), element_of(dtype),
                            std::ssize(elements) / bytes_per_element(dtype));
  }
}

}  // namespace kvtape
