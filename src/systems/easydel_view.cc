// One layer of an EasyDeL cache: what concatenate_to_cache does.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "core/checked.h"
#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/easydel_checks.h"
#include "systems/easydel_mask.h"

namespace kvtape::easydel {
namespace {

Tensor zeros(const char* field, const std::vector<std::int64_t>& sizes,
             DType dtype) {
  const auto count = checked_product(sizes);
  const auto bytes =
      count ? checked_mul(*count, bytes_per_element(dtype)) : count;
  if (!bytes)
    throw Error({.field = field,
                 .expected = "sizes that are not negative and fit 63 bits",
                 .found = shape_text(sizes)});
  return make_tensor(dtype,
                     {{AxisKind::kBatch, "batch", sizes[0]},
                      {AxisKind::kPosition, "position", sizes[1]},
                      {AxisKind::kHead, "head", sizes[2]},
                      {AxisKind::kDim, "dim", sizes[3]}},
                     std::vector<std::byte>(static_cast<std::size_t>(*bytes)));
}

// Each row's index after `count` more tokens; int32 wraps.
std::vector<std::int64_t> advanced(std::span<const std::int64_t> index,
                                   std::int64_t count) {
  std::vector<std::int64_t> result;
  for (const std::int64_t each : index)
    result.push_back(static_cast<std::int32_t>(
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(each + count))));
  return result;
}

Tensor updated(const TransformerCacheView& view, const char* field,
               const Tensor& cache, const Tensor& block) {
  Array operand = array_of(cache);
  const Array update = as_dtype(array_of(block), operand.dtype);
  const auto index = integers(view.index);
  check_block(field, operand.shape(), update.shape(), std::ssize(index));
  update_rows(operand, update, index);
  return tensor_of(std::move(operand));
}

Mask mask_before_padding(const TransformerCacheView& view,
                         const Concatenation& a, std::int64_t length) {
  const Mask attention = mask_of(a.attention_mask);
  if (!a.causal_mask) return attention;
  const std::size_t rank = a.attention_mask.axes.size();
  if (rank != 2 && rank != 4)
    throw Error({.field = "attention_mask",
                 .expected = "as many axes as causal_mask",
                 .found = shape_text(a.attention_mask)});
  Mask causal = causal_rows(mask_of(*a.causal_mask), integers(view.index),
                            a.query_length, length);
  if (a.token_type_ids && a.query_length != 1)
    add_token_types(*a.token_type_ids, causal);
  return logical_and(attention, causal);
}

}  // namespace

TransformerCacheView TransformerCacheView::init(
    const TransformerCacheMetaData& m, DType dtype,
    const EasyQuantizer& quantizer, std::optional<Tensor> starts,
    std::optional<std::int64_t> layer_index, Mode mode) {
  if (starts && mode == Mode::kChecked) check_starts(*starts, m.batch_size);
  const auto of = [&](const char* field, std::optional<std::int64_t> heads,
                      std::optional<std::int64_t> dim) {
    return quantizer(zeros(field,
                           {m.batch_size, m.sequence_length, heads.value_or(0),
                            dim.value_or(0)},
                           dtype),
                     mode);
  };
  const Tensor none = int_row(
      std::vector<std::int64_t>(static_cast<std::size_t>(m.batch_size), 0));
  return {.key = of("key", m.key_heads, m.key_dim),
          .value = of("value", m.value_heads, m.value_dim),
          .index = none,
          .starts = starts ? std::move(*starts) : none,
          .metadata = m,
          .layer_index = layer_index};
}

Concatenated TransformerCacheView::concatenate_to_cache(
    const Concatenation& arguments, Mode mode) const {
  if (!key || !value)
    throw Error({.field = "key", .expected = "a cache", .found = "none"});
  if (mode == Mode::kChecked) check_concatenation(*this, arguments);
  const std::int64_t length = extent(*value, AxisKind::kPosition);
  const auto next = advanced(integers(index), arguments.query_length);
  Mask rows = empty_mask({1, 1, arguments.query_length, 1});
  rows.bits.assign(rows.bits.size(), 1);
  const Mask mask = logical_and(logical_and(written_slots(next, length), rows),
                                mask_before_padding(*this, arguments, length));
  Concatenated result{.key = updated(*this, "key", *key, arguments.key),
                      .value = updated(*this, "value", *value, arguments.value),
                      .mask = tensor_of(mask),
                      .view = *this};
  result.view.key = arguments.quantizer(result.key, mode);
  result.view.value = arguments.quantizer(result.value, mode);
  result.view.index = int_row(next);
  return result;
}

TransformerCacheView TransformerCacheView::replace(
    const Changes& changes) const {
  TransformerCacheView result = *this;
  if (changes.key) result.key = changes.key;
  if (changes.value) result.value = changes.value;
  if (changes.index) result.index = *changes.index;
  if (changes.starts) result.starts = *changes.starts;
  if (changes.metadata) result.metadata = *changes.metadata;
  if (changes.layer_index) result.layer_index = changes.layer_index;
  return result;
}

}  // namespace kvtape::easydel
