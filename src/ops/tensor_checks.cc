// Checks that stand before every read of a tensor.
#include "ops/tensor_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/checked.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

std::string word(AxisKind kind) {
  switch (kind) {
    case AxisKind::kBatch:
      return "batch";
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

bool allowed(AxisKind kind, std::initializer_list<AxisKind> kinds) {
  return kind == AxisKind::kBatch || kind == AxisKind::kLayer ||
         std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

void check_axes(const Tensor& tensor, const std::string& object,
                std::initializer_list<AxisKind> kinds) {
  std::vector<AxisKind> seen;
  for (const Axis& axis : tensor.axes) {
    if (!allowed(axis.kind, kinds))
      contradiction(object, "axes", "no " + word(axis.kind) + " axis",
                    shape_text(tensor));
    if (axis.kind == AxisKind::kBatch) continue;
    if (std::find(seen.begin(), seen.end(), axis.kind) != seen.end())
      contradiction(object, "axes", "one " + word(axis.kind) + " axis",
                    "several");
    seen.push_back(axis.kind);
  }
}

// The elements of all layers that share the source.
std::int64_t stored_elements(const Tensor& tensor, const std::string& object) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  auto count = checked_product(sizes);
  if (count && !checked_mul(*count, 8)) count.reset();
  if (!count)
    contradiction(object, "shape", "a size that fits 63 bits",
                  shape_text(tensor));
  return *count;
}

void check_layer(const Tensor& tensor, const std::string& object) {
  for (const Axis& axis : tensor.axes) {
    if (axis.kind != AxisKind::kLayer) continue;
    const std::int64_t layer = tensor.layer.value_or(0);
    if (layer < 0 || layer >= axis.size)
      contradiction(object, "layer", "below " + std::to_string(axis.size),
                    std::to_string(layer));
  }
}

void check_source(const SlabSource& source, const std::string& object,
                  std::int64_t bytes) {
  const auto found = source.bytes();
  if (!found.empty())
    check_equal(object, "bytes", bytes,
                static_cast<std::int64_t>(found.size()));
}

void check_scales(const Tensor& tensor, const std::string& object,
                  std::int64_t scales) {
  const Quantization& q = tensor.quantization;
  if (!q.scales) contradiction(object, "scales", "present", "none");
  check_equal(object, "scales", scales, q.scale_count);
  if (q.scale_dtype != tensor.dtype || tensor.dtype == DType::kF64)
    contradiction(object, "dtype of scales",
                  "that of the tensor: f32, f16 or bf16",
                  std::string(name(q.scale_dtype)));
  check_source(*q.scales, object, scales * bytes_per_element(q.scale_dtype));
}

// Codes of a tensor without batch axes that are last, or layers, would lie in
// another order than batch, position, head, dim.
void check_order(const Tensor& tensor, const std::string& object) {
  AxisKind last = AxisKind::kBatch;
  for (const Axis& axis : tensor.axes) {
    if (axis.kind < last || axis.kind == AxisKind::kLayer)
      contradiction(object, "axes", "batch, position, head, dim",
                    shape_text(tensor));
    last = axis.kind;
  }
}

}  // namespace

void contradiction(const std::string& object, const std::string& field,
                   const std::string& expected, const std::string& found,
                   const std::string& hint) {
  throw Error({.object = object,
               .field = field,
               .expected = expected,
               .found = found,
               .hint = hint});
}

void check_equal(const std::string& object, const std::string& field,
                 std::int64_t expected, std::int64_t actual,
                 const std::string& hint) {
  if (expected != actual)
    contradiction(object, field, std::to_string(expected),
                  std::to_string(actual), hint);
}

void check_tensor(const Tensor& tensor, const std::string& object,
                  std::initializer_list<AxisKind> kinds) {
  check_axes(tensor, object, kinds);
  check_layer(tensor, object);
  const std::int64_t elements = stored_elements(tensor, object);
  if (!tensor.source) contradiction(object, "data", "present", "none");
  const auto bytes = tensor.source->bytes();
  if (tensor.quantized() || bytes.empty()) return;
  check_equal(object, "bytes", elements * bytes_per_element(tensor.dtype),
              static_cast<std::int64_t>(bytes.size()));
}

void check_bounds(const std::string& object, std::int64_t least,
                  std::int64_t most, std::span<const std::int64_t> values) {
  for (std::int64_t value : values)
    if (value < least || value > most)
      contradiction(object, "value", fmt::format("in [{}, {}]", least, most),
                    std::to_string(value));
}

void check_integers(const Tensor& tensor, const std::string& object,
                    std::initializer_list<AxisKind> kinds) {
  check_tensor(tensor, object, kinds);
  if (is_float(tensor.dtype) || tensor.quantized())
    contradiction(object, "dtype", "integers", std::string(name(tensor.dtype)));
}

void check_floats(const Tensor& tensor, const std::string& object,
                  std::initializer_list<AxisKind> kinds) {
  check_tensor(tensor, object, kinds);
  if (!is_float(tensor.dtype))
    contradiction(object, "dtype", "floating point",
                  std::string(name(tensor.dtype)));
  if (tensor.quantized())
    contradiction(object, "quantization", "none", "quantized");
}

void check_quantized(const Tensor& tensor, const std::string& object) {
  const Quantization& q = tensor.quantization;
  const std::int64_t elements = element_count(tensor);
  check_order(tensor, object);
  if (bytes_per_element(q.payload_dtype) != 1)
    contradiction(object, "dtype of data", "one byte",
                  std::string(name(q.payload_dtype)));
  std::int64_t codes = elements;
  std::int64_t block = extent(tensor, AxisKind::kDim);
  if (q.scheme == Quantization::Scheme::kNF4) {
    codes = elements / 2;
    block = q.block_size;
    if (block < 1 || elements % block != 0 || elements % 2 != 0)
      contradiction(object, "block_size",
                    "a divisor of an even number of elements, " +
                        std::to_string(elements),
                    std::to_string(block));
  }
  check_equal(object, "data", codes, q.payload_count);
  check_source(*tensor.source, object, codes);
  check_scales(tensor, object, elements / block);
}

}  // namespace kvtape
