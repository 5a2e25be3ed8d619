// All layers of an EasyDeL cache, changed in place.
#include <fmt/format.h>

#include <utility>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/easydel_checks.h"
#include "systems/list_index.h"
#include "systems/silent.h"

namespace kvtape::easydel {
namespace {

TransformerCacheView& present(std::optional<TransformerCacheView>& view,
                              std::size_t layer) {
  if (view && view->key && view->value) return *view;
  throw Error({.object = fmt::format("views[{}]", layer),
               .expected = "a view with key and value",
               .found = "none"});
}

Tensor with_rows(const Tensor& cache, const Tensor& rows, std::int64_t slot) {
  Array operand = array_of(cache);
  dynamic_update_slice(operand, array_of(rows), slot);
  return tensor_of(std::move(operand));
}

// The view with the rows of another. EasyDeL computes value before key.
TransformerCacheView inserted(const TransformerCacheView& view,
                              const TransformerCacheView& other,
                              std::int64_t slot, const EasyQuantizer& quantizer,
                              Mode mode) {
  TransformerCacheView result = view;
  result.value = quantizer(with_rows(*view.value, *other.value, slot), mode);
  result.key = quantizer(with_rows(*view.key, *other.key, slot), mode);
  result.index = with_rows(view.index, other.index, slot);
  result.starts = with_rows(view.starts, other.starts, slot);
  return result;
}

std::vector<TransformerCacheView> inserted_layers(
    TransformerCache& cache, TransformerCache other, std::int64_t slot,
    const EasyQuantizer& quantizer) {
  check_insert(cache, other, slot, quantizer);
  std::vector<TransformerCacheView> views;
  for (std::size_t layer = 0; layer < cache.size(); ++layer)
    views.push_back(inserted(present(cache.views[layer], layer),
                             present(other.views[layer], layer), slot,
                             quantizer, Mode::kChecked));
  return views;
}

void check_values(const char* field, const TransformerCacheView& view,
                  const std::vector<std::int32_t>& values, std::int64_t slot) {
  check_slot(slot, extent(view.index, AxisKind::kBatch), std::ssize(values));
  const std::int64_t length = extent(*view.value, AxisKind::kPosition);
  for (const std::int32_t value : values)
    if (value < 0 || value > length)
      refuse_silent({.field = field,
                     .expected = fmt::format("0 to {}", length),
                     .found = std::to_string(value)},
                    "EasyDeL keeps it");
}

// Into one integer field of every view.
void insert_values(TransformerCache& cache, Tensor TransformerCacheView::*field,
                   const char* name, const std::vector<std::int32_t>& values,
                   std::int64_t slot, Mode mode) {
  const Tensor row =
      int_row(std::vector<std::int64_t>(values.begin(), values.end()));
  std::vector<Tensor> results;
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    const TransformerCacheView& view = present(cache.views[layer], layer);
    if (mode == Mode::kChecked) check_values(name, view, values, slot);
    results.push_back(with_rows(view.*field, row, slot));
  }
  for (std::size_t layer = 0; layer < cache.size(); ++layer)
    *cache.views[layer].*field = results[layer];
}

}  // namespace

TransformerCache TransformerCache::init_cache(
    const TransformerCacheMetaData& metadata, DType dtype,
    std::optional<Tensor> starts, const EasyQuantizer& quantizer, Mode mode) {
  TransformerCache cache;
  for (std::int64_t layer = 0; layer < metadata.num_hidden_layers; ++layer)
    cache.views.push_back(TransformerCacheView::init(metadata, dtype, quantizer,
                                                     starts, layer, mode));
  return cache;
}

TransformerCache TransformerCache::init_empty(std::int64_t num_hidden_layers) {
  TransformerCache cache;
  if (num_hidden_layers > 0)
    cache.views.resize(static_cast<std::size_t>(num_hidden_layers));
  return cache;
}

std::optional<TransformerCacheView>& TransformerCache::operator[](
    std::int64_t index) {
  return views[list_index(index, views.size())];
}

const std::optional<TransformerCacheView>& TransformerCache::operator[](
    std::int64_t index) const {
  return views[list_index(index, views.size())];
}

TransformerCache& TransformerCache::insert(const TransformerCache& other,
                                           std::int64_t slot,
                                           const EasyQuantizer& quantizer,
                                           Mode mode) {
  if (mode == Mode::kChecked) {
    const auto layers = inserted_layers(*this, other, slot, quantizer);
    views.assign(layers.begin(), layers.end());
    return *this;
  }
  TransformerCache source = other;
  for (std::size_t layer = 0; layer < size(); ++layer) {
    auto& from = source[static_cast<std::int64_t>(layer)];
    views[layer] = inserted(present(views[layer], layer), present(from, layer),
                            slot, quantizer, mode);
  }
  return *this;
}

TransformerCache& TransformerCache::insert_index(
    const std::vector<std::int32_t>& index, std::int64_t slot, Mode mode) {
  insert_values(*this, &TransformerCacheView::index, "index", index, slot,
                mode);
  return *this;
}

TransformerCache& TransformerCache::insert_starts(
    const std::vector<std::int32_t>& starts, std::int64_t slot, Mode mode) {
  insert_values(*this, &TransformerCacheView::starts, "starts", starts, slot,
                mode);
  return *this;
}

}  // namespace kvtape::easydel
