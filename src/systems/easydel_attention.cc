// The masks of EasyDeL's attention around concatenate_to_cache.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/easydel_checks.h"
#include "systems/easydel_mask.h"
#include "systems/silent.h"

namespace kvtape::easydel {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// true where column <= row
Mask lower_triangle(std::int64_t length) {
  Mask mask = empty_mask({1, 1, length, length});
  for (std::int64_t row = 0; row < length; ++row)
    std::fill_n(mask.bits.begin() + row * length, row + 1, std::uint8_t{1});
  return mask;
}

// A row `query` of a block keeps positions beyond query - window.
Mask block_window(std::int64_t queries, std::int64_t length,
                  std::int64_t window) {
  Mask mask = empty_mask({1, 1, queries, length});
  for (std::int64_t query = 0; query < queries; ++query)
    for (std::int64_t slot = 0; slot < length; ++slot)
      mask.bits[at(query * length + slot)] = slot > query - window ? 1 : 0;
  return mask;
}

// Positions older than the window of a token that `mask` still shows.
void check_window(const Mask& mask, std::span<const std::int64_t> index,
                  std::int64_t window) {
  for (std::int64_t row = 0; row < mask.sizes[0]; ++row)
    for (std::int64_t query = 0; query < mask.sizes[2]; ++query)
      for (std::int64_t slot = 0;
           slot <= index[at(row)] + query - window && slot < mask.sizes[3];
           ++slot)
        if (mask.at(row, 0, query, slot) != 0)
          refuse_silent(
              {.object = fmt::format("row {}", row),
               .field = "sliding_window",
               .expected = fmt::format("{} positions up to {}", window,
                                       index[at(row)] + query),
               .found = fmt::format("position {} visible", slot)},
              "EasyDeL counts the window from the start of the block");
}

Tensor zero_one_mask(const Tensor& mask, Mode mode) {
  if (mode == Mode::kChecked && !zeros_and_ones(mask))
    refuse_silent({.field = "attention_mask",
                   .expected = "0 and 1",
                   .found = "other values"},
                  "EasyDeL takes them as 0 (TransformerLens: as 1)");
  return tensor_of(mask_of_ones(mask));
}

}  // namespace

Concatenated AttentionModule::concatenate(const TransformerCacheView& view,
                                          Concatenation arguments,
                                          Mode mode) const {
  if (!view.value)
    throw Error({.field = "value", .expected = "a cache", .found = "none"});
  const std::int64_t length = extent(*view.value, AxisKind::kPosition);
  arguments.attention_mask = zero_one_mask(arguments.attention_mask, mode);
  if (!arguments.causal_mask && causal)
    arguments.causal_mask = tensor_of(lower_triangle(length));
  Concatenated result = view.concatenate_to_cache(arguments, mode);
  if (!sliding_window) return result;
  const Mask mask = logical_and(
      mask_of(result.mask),
      block_window(arguments.query_length, length, *sliding_window));
  if (mode == Mode::kChecked)
    check_window(mask, integers(view.index), *sliding_window);
  result.mask = tensor_of(mask);
  return result;
}

Tensor decode_mask(const TransformerCacheView& view, const Tensor& mask,
                   Mode mode) {
  if (!view.key || !view.value)
    throw Error({.field = "key", .expected = "a cache", .found = "none"});
  const std::int64_t key_dim = extent(*view.key, AxisKind::kDim);
  const std::int64_t value_dim = extent(*view.value, AxisKind::kDim);
  if (key_dim != value_dim)
    throw Error({.field = "value_dim",
                 .expected = fmt::format("{}, as key_dim", key_dim),
                 .found = std::to_string(value_dim)});
  const std::int64_t length = extent(*view.value, AxisKind::kPosition);
  Mask seen = written_slots(integers(view.index), length);
  Mask pads = written_slots(integers(view.starts), length);
  for (std::uint8_t& bit : pads.bits) bit ^= 1;
  seen = logical_and(seen, pads);
  const Mask given = mask_of(mask);
  if (mode == Mode::kChecked && given.bits != seen.bits)
    refuse_silent({.field = "attention_mask",
                   .expected = "starts <= slot < index",
                   .found = "another mask"},
                  "EasyDeL's decode operator ignores it");
  return tensor_of(seen);
}

std::vector<std::int32_t> compute_prefill_length(const Tensor& input_ids,
                                                 std::int64_t pad_token_id) {
  const auto ids = integers(input_ids);
  const auto rows = at(extent(input_ids, AxisKind::kBatch));
  const std::size_t length = rows == 0 ? 0 : ids.size() / rows;
  std::vector<std::int32_t> pads;
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t count = 0;
    while (count < length && ids[row * length + count] == pad_token_id) ++count;
    pads.push_back(static_cast<std::int32_t>(count));
  }
  return pads;
}

}  // namespace kvtape::easydel
