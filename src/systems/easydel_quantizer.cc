// EasyQuantizer: which tensors it quantizes, and how.
#include <fmt/format.h>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/quantize.h"
#include "systems/silent.h"

namespace kvtape::easydel {
namespace {

using Methods = EasyDeLQuantizationMethods;

void check_quantizable(const Tensor& array, std::int64_t count) {
  if (!is_float(array.dtype) || array.dtype == DType::kF64)
    throw Error({.field = "dtype",
                 .expected = "f32, f16 or bf16",
                 .found = std::string(name(array.dtype))});
  if (count == 0)
    throw Error({.field = "shape",
                 .expected = "elements to quantize",
                 .found = shape_text(array)});
}

// Whether NF4 applies at all.
bool divides(const EasyQuantizer& quantizer, const Tensor& array,
             std::int64_t count, Mode mode) {
  if (quantizer.block_size < 1)
    throw Error({.field = "block_size",
                 .expected = "a positive number",
                 .found = std::to_string(quantizer.block_size)});
  if (count % quantizer.block_size == 0) return true;
  if (mode == Mode::kChecked)
    refuse_silent({.field = "block_size",
                   .expected = fmt::format("a divisor of {} elements", count),
                   .found = std::to_string(quantizer.block_size)},
                  fmt::format("EasyDeL leaves {} {} as it is",
                              name(array.dtype), shape_text(array)));
  return false;
}

}  // namespace

Tensor EasyQuantizer::operator()(const Tensor& array, Mode mode) const {
  if (quantization_method == Methods::kNone || array.quantized()) return array;
  const std::int64_t count = element_count(array);
  check_quantizable(array, count);
  // Codes lie in the order of batch, position, head, dim.
  if (quantization_method == Methods::kA8Bit)
    return quantized(tensor_of(array_of(array)), Quantization::Scheme::kInt8,
                     0);
  if (!divides(*this, array, count, mode)) return array;
  if (count % 2 != 0)
    throw Error({.field = "shape",
                 .expected = "an even number of elements, two in a byte",
                 .found = shape_text(array)});
  return quantized(tensor_of(array_of(array)), Quantization::Scheme::kNF4,
                   block_size);
}

Tensor materialize(const Tensor& array) {
  return array.quantized() ? tensor_of(array_of(array)) : array;
}

}  // namespace kvtape::easydel
