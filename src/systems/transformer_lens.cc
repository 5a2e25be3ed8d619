// TransformerLens' cache: appending as torch.cat does it.
#include "kvtape/transformer_lens.h"

#include <fmt/format.h>

#include <utility>

#include "kvtape/error.h"
#include "systems/growing.h"
#include "systems/list_index.h"
#include "systems/silent.h"

namespace kvtape::transformer_lens {
namespace {

constexpr AxisKind kRow = AxisKind::kBatch;

// Sizes in the order [batch, pos, n_heads, d_head], those that are there.
std::vector<std::int64_t> shape_of(const Tensor& tensor) {
  std::vector<std::int64_t> shape;
  for (AxisKind kind : {kRow, AxisKind::kPosition, AxisKind::kToken,
                        AxisKind::kHead, AxisKind::kDim})
    if (has_axis(tensor, kind)) shape.push_back(extent(tensor, kind));
  return shape;
}

// The texts are those of torch.
void check_cat(const char* field, const Tensor& past, const Tensor& rows) {
  const auto a = shape_of(past);
  const auto b = shape_of(rows);
  if (a.size() != b.size())
    throw Error({.field = field,
                 .text = fmt::format("Tensors must have same number of "
                                     "dimensions: got {} and {}",
                                     a.size(), b.size())});
  for (std::size_t axis = 0; axis < a.size(); ++axis)
    if (axis != 1 && a[axis] != b[axis])
      throw Error(
          {.field = field,
           .text = fmt::format("Sizes of tensors must match except in "
                               "dimension 1. Expected size {} but got size {} "
                               "for tensor number 1 in the list.",
                               a[axis], b[axis])});
  if (past.quantized() || rows.quantized())
    throw Error({.field = field,
                 .expected = "plain numbers",
                 .found = "a quantized tensor"});
}

void check_dtype(const char* field, const Tensor& past, const Tensor& rows) {
  const DType dtype = promoted(past.dtype, rows.dtype);
  if (dtype == past.dtype) return;
  refuse_silent(
      {.field = field,
       .expected = std::string(name(past.dtype)) + ", the cache's dtype",
       .found = std::string(name(rows.dtype))},
      fmt::format("TransformerLens makes the whole entry {}", name(dtype)));
}

void check_kept(const KeyValueCacheEntry& entry) {
  if (!entry.frozen || entry.not_kept == 0) return;
  refuse_silent(
      {.field = "frozen",
       .expected = "one append while frozen",
       .found = fmt::format("another, after one of {} tokens that was not kept",
                            entry.not_kept)},
      fmt::format("TransformerLens attends to the {} stored tokens and the new "
                  "ones only",
                  entry.length()));
}

void check_context(const KeyValueCacheEntry& entry, std::int64_t count) {
  if (!entry.n_ctx || entry.length() + count <= *entry.n_ctx) return;
  refuse_silent(
      {.field = "pos",
       .expected = fmt::format("at most n_ctx = {} positions", *entry.n_ctx),
       .found = std::to_string(entry.length() + count)},
      "TransformerLens stores them, and its attention fails afterwards");
}

void check_append(const KeyValueCacheEntry& entry, const Tensor& new_keys,
                  const Tensor& new_values) {
  check_dtype("keys", entry.past_keys, new_keys);
  check_dtype("values", entry.past_values, new_values);
  check_kept(entry);
  check_context(entry, shape_of(new_keys)[1]);
}

void check_mask(const KeyValueCache& cache, const Tensor& mask) {
  const Tensor& past = cache.previous_attention_mask;
  const std::int64_t length = shape_of(past)[1];
  const DType dtype = promoted(past.dtype, mask.dtype);
  if (is_float(dtype) || (length > 0 && dtype != past.dtype))
    refuse_silent(
        {.field = "attention_mask",
         .expected = std::string(name(past.dtype)) + ", the cache's dtype",
         .found = std::string(name(mask.dtype))},
        fmt::format("TransformerLens makes the whole mask {}", name(dtype)));
  for (std::size_t layer = 0; layer < cache.entries.size(); ++layer)
    if (cache.entries[layer].length() != length)
      refuse_silent(
          {.object = fmt::format("entries[{}]", layer),
           .field = "pos",
           .expected = fmt::format("{}, as previous_attention_mask", length),
           .found = std::to_string(cache.entries[layer].length())},
          "TransformerLens pairs masks and keys of different positions");
}

Tensor empty_past(const Config& cfg, std::int64_t batch_size,
                  std::int64_t heads) {
  return growing_tensor(
      cfg.dtype, {.name = "pos"},
      {{.kind = kRow, .name = "batch", .size = batch_size},
       {.kind = AxisKind::kHead, .name = "n_heads", .size = heads},
       {.kind = AxisKind::kDim, .name = "d_head", .size = cfg.d_head}});
}

void check_not_negative(const char* field, std::int64_t size) {
  if (size < 0)
    throw Error({.field = field,
                 .expected = "not negative",
                 .found = std::to_string(size)});
}

}  // namespace

KeyValueCacheEntry KeyValueCacheEntry::init_cache_entry(
    const Config& cfg, std::int64_t batch_size) {
  const std::int64_t heads = cfg.n_key_value_heads.value_or(cfg.n_heads);
  check_not_negative("batch_size", batch_size);
  check_not_negative("n_heads", heads);
  check_not_negative("d_head", cfg.d_head);
  const Tensor empty = empty_past(cfg, batch_size, heads);
  return {.past_keys = empty, .past_values = empty, .n_ctx = cfg.n_ctx};
}

std::int64_t KeyValueCacheEntry::length() const {
  return extent(past_keys, AxisKind::kPosition);
}

void KeyValueCacheEntry::unfreeze() {
  frozen = false;
  not_kept = 0;
}

Appended KeyValueCacheEntry::append(const Tensor& new_keys,
                                    const Tensor& new_values, Mode mode) {
  check_cat("keys", past_keys, new_keys);
  check_cat("values", past_values, new_values);
  if (mode == Mode::kChecked) check_append(*this, new_keys, new_values);
  Appended result{
      .keys = concatenated(past_keys, new_keys,
                           promoted(past_keys.dtype, new_keys.dtype)),
      .values = concatenated(past_values, new_values,
                             promoted(past_values.dtype, new_values.dtype))};
  if (frozen) {
    not_kept += shape_of(new_keys)[1];
  } else {
    past_keys = result.keys;
    past_values = result.values;
  }
  return result;
}

KeyValueCache KeyValueCache::init_cache(const Config& cfg,
                                        std::int64_t batch_size) {
  KeyValueCache cache;
  for (std::int64_t layer = 0; layer < cfg.n_layers; ++layer)
    cache.entries.push_back(
        KeyValueCacheEntry::init_cache_entry(cfg, batch_size));
  cache.previous_attention_mask =
      growing_tensor(DType::kI32, {.name = "pos"},
                     {{.kind = kRow, .name = "batch", .size = batch_size}});
  return cache;
}

KeyValueCacheEntry& KeyValueCache::operator[](std::int64_t index) {
  return entries[list_index(index, entries.size())];
}

const KeyValueCacheEntry& KeyValueCache::operator[](std::int64_t index) const {
  return entries[list_index(index, entries.size())];
}

void KeyValueCache::freeze() {
  frozen = true;
  for (KeyValueCacheEntry& entry : entries) entry.freeze();
}

void KeyValueCache::unfreeze() {
  frozen = false;
  for (KeyValueCacheEntry& entry : entries) entry.unfreeze();
}

Tensor KeyValueCache::append_attention_mask(const Tensor& attention_mask,
                                            Mode mode) {
  check_cat("attention_mask", previous_attention_mask, attention_mask);
  if (mode == Mode::kChecked) check_mask(*this, attention_mask);
  Tensor result = concatenated(
      previous_attention_mask, attention_mask,
      promoted(previous_attention_mask.dtype, attention_mask.dtype));
  if (!frozen) previous_attention_mask = result;
  return result;
}

}  // namespace kvtape::transformer_lens
