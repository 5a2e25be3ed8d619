#include "systems/easydel_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/easydel_mask.h"
#include "systems/silent.h"

namespace kvtape::easydel {
namespace {

std::vector<std::int64_t> shape_of(const Tensor& tensor) {
  std::vector<std::int64_t> shape;
  for (AxisKind kind : {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kToken,
                        AxisKind::kHead, AxisKind::kDim})
    if (has_axis(tensor, kind)) shape.push_back(extent(tensor, kind));
  return shape;
}

// Sizes of the axes from that one on.
std::vector<std::int64_t> rest(const Tensor& tensor, std::ptrdiff_t axis) {
  auto shape = shape_of(tensor);
  shape.erase(shape.begin(), shape.begin() + std::min(axis, std::ssize(shape)));
  return shape;
}

const char* form(Quantization::Scheme scheme) {
  switch (scheme) {
    case Quantization::Scheme::kNone:
      return "plain numbers";
    case Quantization::Scheme::kInt8:
      return "8bit";
    case Quantization::Scheme::kNF4:
      return "nf4";
  }
  return "?";
}

Quantization::Scheme scheme_of(const EasyQuantizer& quantizer) {
  switch (quantizer.quantization_method) {
    case EasyDeLQuantizationMethods::kNone:
      return Quantization::Scheme::kNone;
    case EasyDeLQuantizationMethods::kA8Bit:
      return Quantization::Scheme::kInt8;
    case EasyDeLQuantizationMethods::kNF4:
      return Quantization::Scheme::kNF4;
  }
  return Quantization::Scheme::kNone;
}

void check_form(const char* field, const Tensor& cache,
                const EasyQuantizer& quantizer) {
  const auto scheme = cache.quantization.scheme;
  if (scheme == scheme_of(quantizer)) return;
  refuse_silent({.field = field,
                 .expected = fmt::format("a quantizer to {}", form(scheme)),
                 .found = form(scheme_of(quantizer))},
                "EasyDeL stores the whole cache so from here on");
}

std::string slots(std::int64_t first, std::int64_t count) {
  return fmt::format("slots [{}, {})", first, first + count);
}

std::string row(std::size_t number) { return fmt::format("row {}", number); }

// A larger part fails in EasyDeL too, with its own text.
bool fits(std::span<const std::int64_t> cache,
          std::span<const std::int64_t> part) {
  return cache.size() == part.size() &&
         std::equal(part.begin(), part.end(), cache.begin(),
                    std::less_equal<>());
}

void check_same_parts(const char* field, std::span<const std::int64_t> cache,
                      std::span<const std::int64_t> part) {
  if (!fits(cache, part)) return;
  if (std::equal(cache.begin(), cache.end(), part.begin(), part.end())) return;
  refuse_silent({.field = field,
                 .expected = shape_text(cache),
                 .found = shape_text(part)},
                "EasyDeL writes the low corner and leaves the rest as it was");
}

void check_write(const TransformerCacheView& view, std::int64_t count) {
  const std::int64_t length = extent(*view.value, AxisKind::kPosition);
  const auto index = integers(view.index);
  for (std::size_t i = 0; i < index.size(); ++i)
    if (index[i] < 0 || index[i] + count > length)
      refuse_silent(
          {.object = row(i),
           .field = "index",
           .expected = fmt::format("a write inside {}", slots(0, length)),
           .found = fmt::format("one to {}", slots(index[i], count))},
          fmt::format("EasyDeL writes to {} and overwrites what is there",
                      slots(clamped_start(index[i], length, count), count)));
}

void check_causal(const TransformerCacheView& view, const Concatenation& a) {
  if (!a.causal_mask) return;
  const std::int64_t rows = mask_of(*a.causal_mask).sizes[2];
  const auto index = integers(view.index);
  for (std::size_t i = 0; i < index.size(); ++i)
    if (index[i] + a.query_length > rows)
      refuse_silent(
          {.object = row(i),
           .field = "causal_mask",
           .expected = fmt::format("{} rows", index[i] + a.query_length),
           .found = std::to_string(rows)},
          "EasyDeL takes its last rows");
}

void check_token_types(const TransformerCacheView& view,
                       const Concatenation& a) {
  if (!a.token_type_ids || !a.causal_mask || a.query_length == 1) return;
  if (extent(*a.token_type_ids, AxisKind::kBatch) > 1)
    refuse_silent({.field = "token_type_ids",
                   .expected = "one batch row",
                   .found = shape_text(*a.token_type_ids)},
                  "EasyDeL reads batch rows as query rows");
  const auto index = integers(view.index);
  for (std::size_t i = 0; i < index.size(); ++i)
    if (index[i] != 0)
      refuse_silent({.object = row(i),
                     .field = "token_type_ids",
                     .expected = "index 0",
                     .found = std::to_string(index[i])},
                    "EasyDeL takes the types from token 0 on");
}

void check_query_length(const Concatenation& a, std::int64_t count) {
  if (a.query_length != count)
    refuse_silent({.field = "query",
                   .expected = fmt::format("{} tokens, as key", count),
                   .found = std::to_string(a.query_length)},
                  fmt::format("EasyDeL writes {} and advances the index by {}",
                              count, a.query_length));
}

void check_layer(const TransformerCacheView& view,
                 const TransformerCacheView& other,
                 const EasyQuantizer& quantizer) {
  check_same_parts("key", rest(*view.key, 1), rest(*other.key, 1));
  check_same_parts("value", rest(*view.value, 1), rest(*other.value, 1));
  check_form("key", *view.key, quantizer);
  check_form("value", *view.value, quantizer);
}

}  // namespace

Tensor int_row(const std::vector<std::int64_t>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(std::int32_t));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<std::int32_t>(values[i]);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return make_tensor(DType::kI32,
                     {{AxisKind::kBatch, "batch", std::ssize(values)}},
                     std::move(bytes));
}

void check_block(const char* field, std::span<const std::int64_t> cache,
                 std::span<const std::int64_t> block, std::int64_t rows) {
  if (block.size() != 4 || cache.size() != 4)
    throw Error({.field = field,
                 .expected = "batch, token, head and dim",
                 .found = shape_text(block)});
  for (const std::int64_t other : {block[0], rows})
    if (cache[0] != other)
      throw Error({.field = field,
                   .text = fmt::format("vmap got inconsistent sizes for array "
                                       "axes to be mapped: [{}, {}]",
                                       cache[0], other)});
  check_update_shape(cache.subspan(1), block.subspan(1));
}

void check_starts(const Tensor& starts, std::int64_t batch_size) {
  if (starts.dtype == DType::kI32 && starts.axes.size() == 1 &&
      starts.axes[0].size == batch_size)
    return;
  refuse_silent(
      {.field = "starts",
       .expected = fmt::format("i32 [{}]", batch_size),
       .found = fmt::format("{} {}", name(starts.dtype), shape_text(starts))},
      "EasyDeL keeps it");
}

void check_concatenation(const TransformerCacheView& view,
                         const Concatenation& a) {
  const auto key = shape_of(a.key);
  const auto value = shape_of(a.value);
  const std::int64_t rows = element_count(view.index);
  check_block("key", shape_of(*view.key), key, rows);
  check_block("value", shape_of(*view.value), value, rows);
  check_same_parts("key", rest(*view.key, 2), rest(a.key, 2));
  check_same_parts("value", rest(*view.value, 2), rest(a.value, 2));
  check_form("key", *view.key, a.quantizer);
  check_form("value", *view.value, a.quantizer);
  check_query_length(a, key[1]);
  check_query_length(a, value[1]);
  check_write(view, key[1]);
  check_causal(view, a);
  check_token_types(view, a);
}

void check_slot(std::int64_t slot, std::int64_t rows, std::int64_t count) {
  if (count > rows || (slot >= 0 && slot + count <= rows)) return;
  refuse_silent({.field = "slot",
                 .expected = fmt::format("rows inside [0, {})", rows),
                 .found = fmt::format("rows [{}, {})", slot, slot + count)},
                fmt::format("EasyDeL writes from row {} on",
                            clamped_start(slot, rows, count)));
}

void check_insert(const TransformerCache& cache, const TransformerCache& other,
                  std::int64_t slot, const EasyQuantizer& quantizer) {
  if (cache.size() != other.size())
    refuse_silent({.field = "views",
                   .expected = fmt::format("{} layers", cache.size()),
                   .found = std::to_string(other.size())},
                  cache.size() < other.size()
                      ? "EasyDeL ignores the others"
                      : "EasyDeL fails after it has changed the first");
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    const auto& view = cache.views[layer];
    const auto& with = other.views[layer];
    if (!view || !view->key || !view->value || !with || !with->key ||
        !with->value)
      continue;
    check_slot(slot, extent(*view->key, AxisKind::kBatch),
               extent(*with->key, AxisKind::kBatch));
    check_layer(*view, *with, quantizer);
  }
}

}  // namespace kvtape::easydel
