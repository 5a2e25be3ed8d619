#include "systems/quantize.h"

#include <algorithm>
#include <utility>

#include "core/slab.h"
#include "kernels/quantized.h"
#include "kvtape/error.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

// All numbers in C order of batch, position, head, dim.
std::vector<float> floats(const Tensor& tensor) {
  std::vector<float> result(static_cast<std::size_t>(element_count(tensor)));
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  const std::int64_t slots = extent(tensor, AxisKind::kPosition);
  const std::size_t per_row = result.size() / static_cast<std::size_t>(rows);
  SlabReader reader;
  for (std::int64_t row = 0; row < rows; ++row)
    copy_slab(reader.read(tensor, row, 0, slots), DType::kF32,
              reinterpret_cast<std::byte*>(
                  result.data() + static_cast<std::size_t>(row) * per_row));
  return result;
}

Tensor quantized_int8(const Tensor& tensor, const std::vector<float>& data) {
  const std::int64_t dims = extent(tensor, AxisKind::kDim);
  const auto count = static_cast<std::int64_t>(data.size());
  const int scale_bytes = bytes_per_element(tensor.dtype);
  std::vector<std::byte> codes(data.size());
  std::vector<std::byte> scales(
      static_cast<std::size_t>(count / dims * scale_bytes));
  kernels::quantize_int8(data.data(), element_of(tensor.dtype), count / dims,
                         dims, reinterpret_cast<std::int8_t*>(codes.data()),
                         scales.data());
  Tensor result = tensor;
  result.source = make_source(std::move(codes), {count}, 1);
  result.quantization = {
      .scheme = Quantization::Scheme::kInt8,
      .scales = make_source(std::move(scales), {count / dims}, scale_bytes),
      .scale_count = count / dims,
      .scale_dtype = tensor.dtype,
      .payload_dtype = DType::kI8,
      .payload_count = count};
  return result;
}

Tensor quantized_nf4(const Tensor& tensor, const std::vector<float>& data,
                     std::int64_t block) {
  const auto count = static_cast<std::int64_t>(data.size());
  const int scale_bytes = bytes_per_element(tensor.dtype);
  std::vector<std::byte> packed(data.size() / 2);
  std::vector<std::byte> absmax(
      static_cast<std::size_t>(count / block * scale_bytes));
  kernels::quantize_nf4(data.data(), element_of(tensor.dtype), block, count,
                        reinterpret_cast<std::uint8_t*>(packed.data()),
                        absmax.data());
  Tensor result = tensor;
  result.source = make_source(std::move(packed), {count / 2}, 1);
  result.quantization = {
      .scheme = Quantization::Scheme::kNF4,
      .block_size = block,
      .scales = make_source(std::move(absmax), {count / block}, scale_bytes),
      .scale_count = count / block,
      .scale_dtype = tensor.dtype,
      .payload_dtype = DType::kU8,
      .payload_count = count / 2};
  return result;
}

// All of a source of codes or scales, `count` elements in one run.
std::vector<std::byte> read_run(const SlabSource& source, std::int64_t count,
                                int bytes_per_element) {
  std::vector<std::byte> result(
      static_cast<std::size_t>(count * bytes_per_element));
  source.read({.first = {0}, .count = {count}}, result);
  return result;
}

std::int64_t block_of(const Tensor& tensor) {
  return tensor.quantization.scheme == Quantization::Scheme::kInt8
             ? extent(tensor, AxisKind::kDim)
             : tensor.quantization.block_size;
}

void check_counts(const Tensor& tensor, std::int64_t count) {
  const Quantization& q = tensor.quantization;
  const bool int8 = q.scheme == Quantization::Scheme::kInt8;
  const std::int64_t block = block_of(tensor);
  if (block < 1 || count % block != 0 || q.scale_count != count / block ||
      q.payload_count != (int8 ? count : count / 2) ||
      (!int8 && count % 2 != 0))
    throw Error({.field = "quantization",
                 .expected = "codes and scales for " + shape_text(tensor),
                 .found = std::to_string(q.payload_count) + " and " +
                          std::to_string(q.scale_count)});
  if (q.scale_dtype != tensor.dtype)
    throw Error({.field = "scale",
                 .expected = std::string(name(tensor.dtype)),
                 .found = std::string(name(q.scale_dtype))});
}

}  // namespace

void dequantize(const Tensor& tensor, std::span<std::byte> out) {
  const std::int64_t count = element_count(tensor);
  check_counts(tensor, count);
  const Quantization& q = tensor.quantization;
  const auto codes = read_run(*tensor.source, q.payload_count, 1);
  const auto scales =
      read_run(*q.scales, q.scale_count, bytes_per_element(q.scale_dtype));
  const kernels::Element logical = element_of(tensor.dtype);
  const std::int64_t block = block_of(tensor);
  std::vector<float> values(static_cast<std::size_t>(count));
  if (q.scheme == Quantization::Scheme::kInt8)
    kernels::dequantize_int8(reinterpret_cast<const std::int8_t*>(codes.data()),
                             scales.data(), logical, count / block, block,
                             values.data());
  else
    kernels::dequantize_nf4(reinterpret_cast<const std::uint8_t*>(codes.data()),
                            scales.data(), logical, block, 0, count,
                            values.data());
  copy_slab(packed_slab(reinterpret_cast<const std::byte*>(values.data()),
                        DType::kF32, {1, 1, count}),
            tensor.dtype, out.data());
}

Tensor quantized(const Tensor& tensor, Quantization::Scheme scheme,
                 std::int64_t block_size) {
  const std::vector<float> data = floats(tensor);
  if (scheme == Quantization::Scheme::kInt8)
    return quantized_int8(tensor, data);
  return quantized_nf4(tensor, data,
                       std::min(block_size, extent(tensor, AxisKind::kDim)));
}

}  // namespace kvtape
