#include "ops/validate_findings.h"

#include <algorithm>
#include <tuple>

#include "core/natural.h"
#include "kvtape/error.h"
#include "kvtape/validate.h"

namespace kvtape {
namespace {

std::string_view fix_of(std::string_view id) {
  for (const Rule& rule : validation_rules())
    if (rule.id == id) return rule.fix;
  return {};
}

bool before(const Finding& a, const Finding& b) {
  if (a.object != b.object) return natural_less(a.object, b.object);
  return std::tie(a.rule, a.field, a.expected, a.found, a.fix) <
         std::tie(b.rule, b.field, b.expected, b.found, b.fix);
}

// Python's `field or fallback`, as far as the result is positive.
std::optional<std::int64_t> positive(std::optional<std::int64_t> field,
                                     std::optional<std::int64_t> fallback) {
  const std::int64_t size =
      field.value_or(0) != 0 ? *field : fallback.value_or(0);
  if (size > 0) return size;
  return std::nullopt;
}

std::int64_t count_axes(const Tensor& tensor, AxisKind kind) {
  return std::count_if(tensor.axes.begin(), tensor.axes.end(),
                       [&](const Axis& axis) { return axis.kind == kind; });
}

}  // namespace

void Findings::add(Found found) {
  list_.push_back({.rule = std::string(found.rule),
                   .object = std::move(found.object),
                   .field = std::move(found.field),
                   .expected = std::move(found.expected),
                   .found = std::move(found.found),
                   .fix = std::string(fix_of(found.rule))});
}

std::vector<Finding> Findings::sorted() && {
  std::sort(list_.begin(), list_.end(), before);
  list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
  return std::move(list_);
}

Sizes sizes_of(const CacheMetadata& m) {
  return {.batch = positive(m.batch_size, {}),
          .length = positive(m.sequence_length, {}),
          .key_heads = positive(m.key_heads, m.num_heads),
          .value_heads = positive(m.value_heads, m.num_heads),
          .key_dim = positive(m.key_dim, m.head_dim),
          .value_dim = positive(m.value_dim, m.head_dim)};
}

Extents extents_of(const Tensor& tensor) {
  return {.batch = extent(tensor, AxisKind::kBatch),
          .position = extent(tensor, AxisKind::kPosition) *
                      extent(tensor, AxisKind::kToken),
          .heads = extent(tensor, AxisKind::kHead),
          .dims = extent(tensor, AxisKind::kDim)};
}

const Tensor* either(const LayerCache& layer) {
  if (layer.key) return &*layer.key;
  return layer.value ? &*layer.value : nullptr;
}

bool has_usable_axes(const Tensor& tensor) {
  return count_axes(tensor, AxisKind::kPosition) == 1 &&
         count_axes(tensor, AxisKind::kDim) == 1 &&
         count_axes(tensor, AxisKind::kHead) <= 1 &&
         count_axes(tensor, AxisKind::kToken) == 0;
}

bool is_usable(const LayerCache& layer) {
  return either(layer) && (!layer.key || has_usable_axes(*layer.key)) &&
         (!layer.value || has_usable_axes(*layer.value));
}

Layout layout_of(const LayerCache& layer) {
  return layer.layout.value_or(Layout::kLinear);
}

std::int64_t window_of(const LayerCache& layer) {
  return layer.window.value_or(0);
}

bool is_absent(const Tensor& tensor) { return !tensor.source->has_values(); }

std::optional<std::vector<std::int64_t>> small_integers(
    const std::optional<Tensor>& tensor) {
  if (!tensor || is_float(tensor->dtype) || tensor->quantized()) return {};
  if (is_absent(*tensor)) return {};
  if (tensor->dtype != DType::kU64) return integers(*tensor);
  try {
    return integers(*tensor);
  } catch (const Error&) {
    return {};  // above 2^63 - 1
  }
}

std::string layer_path(std::int64_t layer) {
  return "/layers/" + std::to_string(layer);
}

std::string text_of(std::span<const std::int64_t> numbers) {
  constexpr std::size_t kShown = 8;  // a line has to stay readable
  std::string result = "[";
  for (std::size_t i = 0; i < std::min(numbers.size(), kShown); ++i)
    result += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  if (numbers.size() > kShown) result += ", ...";
  return result + "]";
}

std::string storage_text(const Tensor& tensor) {
  const std::string dtype(name(tensor.dtype));
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kInt8:
      return "int8 of " + dtype;
    case Quantization::Scheme::kNF4:
      return "nf4 of " + dtype;
    case Quantization::Scheme::kNone:
      break;
  }
  return dtype;
}

}  // namespace kvtape
