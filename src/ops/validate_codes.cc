// Checks of the scales and codes of quantized tensors.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/validate_checks.h"
#include "ops/validate_places.h"
#include "ops/validate_values.h"
#include "systems/element.h"

namespace kvtape {
namespace {

struct Scales {
  Places bad;  // NaN, infinite or negative
  Places zero;
};

void count_scales(const std::vector<float>& scales, std::int64_t first,
                  Scales& found) {
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const auto at = first + static_cast<std::int64_t>(i);
    if (!(scales[i] >= 0) || std::isinf(scales[i]))
      found.bad.add(at);
    else if (scales[i] == 0)
      found.zero.add(at);
  }
}

Scales scales_of(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  const auto size = static_cast<std::size_t>(bytes_per_element(q.scale_dtype));
  const auto count_run = [&](std::int64_t first,
                             std::span<const std::byte> bytes, Scales& found) {
    constexpr std::size_t kBlock = 4096;  // floats at a time
    std::vector<float> widened;
    for (std::size_t at = 0; at < bytes.size() / size; at += kBlock) {
      widened.resize(std::min(kBlock, bytes.size() / size - at));
      kernels::active().widen(
          bytes.data() + at * size, element_of(q.scale_dtype), 1,
          static_cast<std::int64_t>(widened.size()), widened.data());
      count_scales(widened, first + static_cast<std::int64_t>(at), found);
    }
  };
  Scales found;
  for_each_run(*q.scales, {q.scale_count}, static_cast<int>(size),
               [&](std::int64_t first, std::span<const std::byte> bytes) {
                 count_run(first, bytes, found);
               });
  return found;
}

// The row, position and head of a scale of int8, the number of another one.
std::string scale_text(const Tensor& tensor, std::int64_t at) {
  if (tensor.quantization.scheme == Quantization::Scheme::kNF4)
    return fmt::format("first in block {}", at);
  const Extents has = extents_of(tensor);
  return fmt::format("first in row {} position {} head {}",
                     at / has.heads / has.position,
                     at / has.heads % has.position, at % has.heads);
}

// -128: a cast to int8 that wrapped.
Places wrapped_codes(const Tensor& tensor) {
  Places places;
  for_each_run(*tensor.source, {tensor.quantization.payload_count}, 1,
               [&](std::int64_t first, std::span<const std::byte> bytes) {
                 const auto count =
                     std::count(bytes.begin(), bytes.end(), std::byte{0x80});
                 if (count == 0) return;
                 if (places.count == 0)
                   places.first = first + (std::find(bytes.begin(), bytes.end(),
                                                     std::byte{0x80}) -
                                           bytes.begin());
                 places.count += count;
               });
  return places;
}

void report_scales(const char* rule, const std::string& path,
                   const Tensor& tensor, const Places& places,
                   const char* expected, Findings& findings) {
  if (places.count == 0) return;
  findings.add({.rule = rule,
                .object = path,
                .field = "scales",
                .expected = expected,
                .found = fmt::format("{} others, {}", places.count,
                                     scale_text(tensor, places.first))});
}

void check_quantized_values(const std::string& path, const Tensor& tensor,
                            Findings& findings) {
  const Scales scales = scales_of(tensor);
  report_scales("E75", path, tensor, scales.bad, "finite numbers, not negative",
                findings);
  // NF4 stores 0 for a block of zeros, int8 never does.
  if (tensor.quantization.scheme != Quantization::Scheme::kInt8) return;
  report_scales("W53", path, tensor, scales.zero, "positive numbers", findings);
  // A scale of bf16 may be rounded down so far that -128 is right.
  if (tensor.dtype == DType::kBF16) return;
  const Places wrapped = wrapped_codes(tensor);
  if (wrapped.count == 0) return;
  const std::int64_t dims = extents_of(tensor).dims;
  findings.add({.rule = "W54",
                .object = path,
                .field = "codes",
                .expected = "-127 to 127",
                .found = fmt::format("{} of -128, {} dim {}", wrapped.count,
                                     scale_text(tensor, wrapped.first / dims),
                                     wrapped.first % dims)});
}

}  // namespace

void check_codes(const Cache& cache, Findings& findings) {
  for (const auto& [number, layer] : cache.layers)
    for (const bool is_key : {true, false}) {
      const auto& tensor = is_key ? layer.key : layer.value;
      if (tensor && tensor->quantized() && has_usable_axes(*tensor) &&
          element_count(*tensor) > 0 && is_sound(tensor->quantization, *tensor))
        check_quantized_values(
            layer_path(number) + (is_key ? "/key" : "/value"), *tensor,
            findings);
    }
}

}  // namespace kvtape
