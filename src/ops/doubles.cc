// All elements of a tensor as doubles, widened exactly.
#include "core/slab.h"
#include "kvtape/error.h"
#include "kvtape/tensor.h"
#include "ops/quantized_rows.h"
#include "ops/tensor_checks.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

std::byte* bytes_of(double* values) {
  return reinterpret_cast<std::byte*>(values);
}

void widen_floats(const Tensor& tensor, double* to) {
  if (!is_float(tensor.dtype))
    contradiction("", "dtype", "floating point",
                  std::string(name(tensor.dtype)));
  const std::int64_t positions =
      extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
  SlabReader reader;
  for (std::int64_t row = 0; row < extent(tensor, AxisKind::kBatch); ++row) {
    const SlabView slab = reader.read(tensor, row, 0, positions);
    copy_slab(slab, DType::kF64, bytes_of(to));
    to += slab.shape[0] * slab.shape[1] * slab.shape[2];
  }
}

void widen_codes(const Tensor& tensor, double* to) {
  check_tensor(tensor, "",
               {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim});
  check_quantized(tensor, "");
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  const QuantizedRows group(tensor, 0, rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    PagedRows slots = group.dequantized(row);
    slots.promote(DType::kF64);
    slots.copy_to(bytes_of(to));
    to += slots.slots() * slots.heads() * slots.dim();
  }
}

}  // namespace

std::vector<double> doubles(const Tensor& tensor) {
  std::vector<double> result(static_cast<std::size_t>(element_count(tensor)));
  if (tensor.quantized())
    widen_codes(tensor, result.data());
  else
    widen_floats(tensor, result.data());
  return result;
}

}  // namespace kvtape
