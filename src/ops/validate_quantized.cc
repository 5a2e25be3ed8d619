// Checks of the two quantized forms without reading them.
#include "ops/validate_checks.h"

namespace kvtape {
namespace {

struct Count {
  const char* field;
  std::int64_t expected;
  std::int64_t found;
};

void check_count(const char* rule, const std::string& path, const Count& count,
                 Findings& findings) {
  if (count.expected == count.found) return;
  findings.add({.rule = rule,
                .object = path,
                .field = count.field,
                .expected = std::to_string(count.expected),
                .found = std::to_string(count.found)});
}

void check_payload_dtype(const char* rule, const std::string& path,
                         DType expected, DType found, Findings& findings) {
  if (expected == found) return;
  findings.add({.rule = rule,
                .object = path,
                .field = "dtype of data",
                .expected = std::string(name(expected)),
                .found = std::string(name(found))});
}

void check_int8(const std::string& path, const Tensor& tensor,
                Findings& findings) {
  const Quantization& q = tensor.quantization;
  const Extents has = extents_of(tensor);
  check_payload_dtype("E56", path, DType::kI8, q.payload_dtype, findings);
  check_count("E56", path,
              {"elements of data", element_count(tensor), q.payload_count},
              findings);
  check_count("E56", path,
              {"scales", has.batch * has.position * has.heads, q.scale_count},
              findings);
}

void check_nf4(const std::string& path, const Tensor& tensor,
               Findings& findings) {
  const Quantization& q = tensor.quantization;
  const std::int64_t elements = element_count(tensor);
  check_payload_dtype("E57", path, DType::kU8, q.payload_dtype, findings);
  check_count("E57", path,
              {"bytes of data", elements / 2 + elements % 2, q.payload_count},
              findings);
  if (q.block_size <= 0 || elements % q.block_size != 0) {
    findings.add({.rule = "E57",
                  .object = path,
                  .field = "block_size",
                  .expected = "a divisor of " + std::to_string(elements),
                  .found = std::to_string(q.block_size)});
    return;
  }
  check_count("E57", path, {"absmax", elements / q.block_size, q.scale_count},
              findings);
  const std::int64_t dims = extents_of(tensor).dims;
  if (q.block_size > dims)
    findings.add({.rule = "W34",
                  .object = path,
                  .field = "block_size",
                  .expected = "at most " + std::to_string(dims),
                  .found = std::to_string(q.block_size)});
}

void check_tensor(const std::string& path, const Tensor& tensor,
                  Findings& findings) {
  const Quantization& q = tensor.quantization;
  if (q.scheme == Quantization::Scheme::kInt8)
    check_int8(path, tensor, findings);
  else
    check_nf4(path, tensor, findings);
  if (q.scale_dtype != tensor.dtype)
    findings.add({.rule = "W33",
                  .object = path,
                  .field = "dtype of scales",
                  .expected = std::string(name(tensor.dtype)),
                  .found = std::string(name(q.scale_dtype))});
}

}  // namespace

void check_quantized(const Cache& cache, Findings& findings) {
  for (const auto& [number, layer] : cache.layers)
    for (const bool is_key : {true, false}) {
      const auto& tensor = is_key ? layer.key : layer.value;
      if (tensor && tensor->quantized() && has_usable_axes(*tensor))
        check_tensor(layer_path(number) + (is_key ? "/key" : "/value"), *tensor,
                     findings);
    }
}

}  // namespace kvtape
