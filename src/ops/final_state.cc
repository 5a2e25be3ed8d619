// Bitwise comparison of final keys, values and indexes.
#include "ops/final_state.h"

#include <fmt/format.h>

#include <cstring>

#include "ops/integer_rows.h"
#include "ops/tensor_checks.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Once it is said why not, nothing more is compared.
bool comparable(const FinalComparison& comparison) {
  return comparison.first.empty() || comparison.differing > 0;
}

std::string text_of(std::int64_t positions, std::int64_t heads,
                    std::int64_t dim) {
  return fmt::format("[{}, {}, {}]", positions, heads, dim);
}

std::string scheme_of(const Tensor& tensor) {
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kNone:
      return "none";
    case Quantization::Scheme::kInt8:
      return "8bit";
    case Quantization::Scheme::kNF4:
      return fmt::format("nf4 in blocks of {}", tensor.quantization.block_size);
  }
  return "?";
}

// Why a row cannot be compared, or nothing.
std::string mismatch(const Tensor& recorded, const Tensor& start,
                     const PagedRows& rows) {
  if (recorded.quantized() && scheme_of(recorded) != scheme_of(start))
    return "quantization: expected " + scheme_of(recorded) + ", found " +
           scheme_of(start);
  const DType dtype = start.quantized() ? start.dtype : rows.dtype();
  if (recorded.dtype != dtype)
    return "dtype: expected " + std::string(name(recorded.dtype)) + ", found " +
           std::string(name(dtype));
  const std::string expected = text_of(extent(recorded, AxisKind::kPosition),
                                       extent(recorded, AxisKind::kHead),
                                       extent(recorded, AxisKind::kDim));
  const std::string found = text_of(rows.slots(), rows.heads(), rows.dim());
  if (expected == found) return {};
  return "shape of a row: expected " + expected + ", found " + found;
}

// Compares [position, head, dim] of a page with the packed bytes of the replay.
struct PageComparison {
  SlabView expected;
  const std::byte* actual = nullptr;  // packed, of the same dtype
  std::int64_t row = 0;
  std::int64_t first_position = 0;
};

std::string place(const PageComparison& page, std::int64_t position,
                  std::int64_t head, std::int64_t dim) {
  return "row " + std::to_string(page.row) + " position " +
         std::to_string(page.first_position + position) + " head " +
         std::to_string(head) + " dim " + std::to_string(dim);
}

void compare_page(const PageComparison& page, FinalComparison& comparison) {
  const SlabView& expected = page.expected;
  const std::int64_t size = bytes_per_element(expected.dtype);
  const std::byte* actual = page.actual;
  for (std::int64_t position = 0; position < expected.shape[0]; ++position)
    for (std::int64_t head = 0; head < expected.shape[1]; ++head)
      for (std::int64_t dim = 0; dim < expected.shape[2]; ++dim) {
        const std::byte* recorded =
            expected.data +
            size * (position * expected.strides[0] +
                    head * expected.strides[1] + dim * expected.strides[2]);
        const bool same = std::memcmp(recorded, actual, at(size)) == 0;
        actual += size;
        if (!same && comparison.differing++ == 0)
          comparison.first = place(page, position, head, dim);
      }
  comparison.compared +=
      expected.shape[0] * expected.shape[1] * expected.shape[2];
}

void compare_rows(const Tensor& recorded, const Tensor& start, std::int64_t row,
                  PagedRows& rows, FinalComparison& comparison) {
  if (!comparable(comparison)) return;
  if (comparison.differing == 0)
    comparison.first = mismatch(recorded, start, rows);
  if (!comparable(comparison) || recorded.quantized()) return;
  SlabReader reader;
  std::vector<std::byte> actual;
  for (std::int64_t number = 0; number < rows.pages(); ++number) {
    const SlabView page = rows.page(number);
    const std::int64_t first = number * kernels::kSpan;
    actual.resize(at(page.shape[0] * page.shape[1] * page.shape[2] *
                     bytes_per_element(recorded.dtype)));
    copy_slab(page, recorded.dtype, actual.data());
    compare_page({.expected = reader.read(recorded, row, first, page.shape[0]),
                  .actual = actual.data(),
                  .row = row,
                  .first_position = first},
                 comparison);
  }
}

FinalComparison checked(const ReplayProblem& p, const Tensor& tensor,
                        const std::string& object) {
  check_tensor(tensor, object,
               {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim});
  if (tensor.quantized())
    check_quantized(tensor, object);
  else
    check_floats(tensor, object,
                 {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim});
  FinalComparison comparison{.object = object};
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  if (rows != p.rows)
    comparison.first = "rows: expected " + std::to_string(rows) + ", found " +
                       std::to_string(p.rows);
  return comparison;
}

// ---- quantized

// Compares runs of `size` bytes, codes or scales, from row `first` on.
void compare_bytes(std::span<const std::byte> expected,
                   std::span<const std::byte> actual, std::int64_t size,
                   const std::string& place, FinalComparison& comparison) {
  const auto count = std::ssize(actual) / size;
  comparison.compared += count;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::memcmp(expected.data() + i * size, actual.data() + i * size,
                    at(size)) == 0)
      continue;
    if (comparison.differing++ == 0)
      comparison.first = fmt::format("{} {}", place, i);
  }
}

void compare_codes(const Tensor& recorded, std::int64_t first,
                   const QuantizedRows& actual, FinalComparison& comparison) {
  if (!comparable(comparison)) return;
  const QuantizedRows expected(recorded, first, first + actual.rows());
  const std::string from = fmt::format("from row {} on, ", first);
  compare_bytes(expected.codes(), actual.codes(), 1, from + "byte of codes",
                comparison);
  compare_bytes(expected.scales(), actual.scales(),
                bytes_per_element(recorded.dtype), from + "scale", comparison);
}

// ---- integers

std::optional<FinalComparison> checked_integers(
    const ReplayProblem& p, const std::optional<Tensor>& tensor,
    const std::string& object, std::initializer_list<AxisKind> kinds) {
  if (!tensor) return std::nullopt;
  check_integers(*tensor, object, kinds);
  FinalComparison comparison{.object = object};
  const std::int64_t rows = extent(*tensor, AxisKind::kBatch);
  if (rows != p.rows)
    comparison.first = fmt::format("rows: expected {}, found {}", rows, p.rows);
  return comparison;
}

// `what`: how the entries of a row are called, empty where there is but one.
void compare_integers(const std::vector<std::int64_t>& expected,
                      std::span<const std::int64_t> actual, std::int64_t row,
                      const char* what, FinalComparison& comparison) {
  if (!comparable(comparison)) return;
  if (expected.size() != actual.size()) {
    if (comparison.differing == 0)
      comparison.first = fmt::format("entries of a row: expected {}, found {}",
                                     expected.size(), actual.size());
    return;
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ++comparison.compared;
    if (expected[i] == actual[i] || comparison.differing++ > 0) continue;
    const std::string place =
        *what == 0 ? std::string() : fmt::format(" {} {}", what, i);
    comparison.first = fmt::format("row {}{}: expected {}, found {}", row,
                                   place, expected[i], actual[i]);
  }
}

void compare_entry(const Tensor& recorded, std::int64_t row,
                   std::int64_t actual, FinalComparison& comparison) {
  if (!comparable(comparison)) return;
  const std::int64_t expected = integers(recorded)[at(row)];
  compare_integers({expected}, {&actual, 1}, row, "", comparison);
}

bool all_frozen(const Tape& tape) {
  for (const auto& [number, layer] : tape.cache.layers)
    if (!layer.frozen.value_or(false)) return false;
  return !tape.cache.layers.empty();
}

}  // namespace

std::optional<FinalLayer> final_layer(const Tape& tape,
                                      const ReplayProblem& p) {
  if (!tape.final_state) return std::nullopt;
  const auto found = tape.final_state->layers.find(p.number);
  if (found == tape.final_state->layers.end()) return std::nullopt;
  const LayerCache& recorded = found->second;
  const std::string object = "/final/layers/" + std::to_string(p.number);
  FinalLayer layer{.recorded = &recorded};
  if (recorded.key) layer.key = checked(p, *recorded.key, object + "/key");
  if (recorded.value)
    layer.value = checked(p, *recorded.value, object + "/value");
  layer.index = checked_integers(p, recorded.index, object + "/index", {});
  layer.starts = checked_integers(p, recorded.starts, object + "/starts", {});
  layer.slot_position =
      checked_integers(p, recorded.slot_position, object + "/slot_position",
                       {AxisKind::kPosition});
  return layer;
}

void compare_final_row(const ReplayProblem& p, RowState& state,
                       FinalLayer& layer) {
  const std::int64_t row = state.row;
  if (layer.key)
    compare_rows(*layer.recorded->key, *p.cache->key, row, state.key,
                 *layer.key);
  if (layer.value)
    compare_rows(*layer.recorded->value, *p.cache->value, row, state.value,
                 *layer.value);
  if (layer.index)
    compare_entry(*layer.recorded->index, row, state.slots.index, *layer.index);
  if (layer.starts)
    compare_entry(*layer.recorded->starts, row, state.slots.starts,
                  *layer.starts);
  if (layer.slot_position && comparable(*layer.slot_position))
    compare_integers(integer_row(layer.recorded->slot_position, row),
                     state.slots.position, row, "position",
                     *layer.slot_position);
}

void compare_final_codes(std::int64_t first,
                         const std::optional<QuantizedRows>& key,
                         const std::optional<QuantizedRows>& value,
                         FinalLayer& layer) {
  if (key && layer.key && layer.recorded->key->quantized())
    compare_codes(*layer.recorded->key, first, *key, *layer.key);
  if (value && layer.value && layer.recorded->value->quantized())
    compare_codes(*layer.recorded->value, first, *value, *layer.value);
}

void add_final_layer(const FinalLayer& layer, ReplayReport& report) {
  for (const auto* comparison : {&layer.key, &layer.value, &layer.index,
                                 &layer.starts, &layer.slot_position})
    if (*comparison) report.final_state.push_back(**comparison);
}

std::optional<FinalComparison> compare_final_mask(const Tape& tape) {
  if (!tape.final_state || !tape.final_state->attention_mask)
    return std::nullopt;
  const Tensor& recorded = *tape.final_state->attention_mask;
  FinalComparison comparison{.object = "/final/attention_mask"};
  check_integers(recorded, comparison.object, {AxisKind::kPosition});
  const auto& before = tape.cache.attention_mask;
  // A frozen cache takes no masks either.
  const auto tokens = all_frozen(tape) ? std::nullopt : tape.trace->token_mask;
  const std::int64_t rows = extent(recorded, AxisKind::kBatch);
  const auto check = [&](const std::optional<Tensor>& part,
                         const std::string& object, AxisKind kind) {
    if (!part) return;
    check_integers(*part, object, {kind});
    if (extent(*part, AxisKind::kBatch) != rows)
      comparison.first = fmt::format("rows: expected {}, found {}", rows,
                                     extent(*part, AxisKind::kBatch));
  };
  check(before, "/attention_mask", AxisKind::kPosition);
  check(tokens, "/trace/token_mask", AxisKind::kToken);
  for (std::int64_t row = 0; row < rows && comparable(comparison); ++row) {
    auto mask = integer_row(before, row);
    const auto added = integer_row(tokens, row);
    mask.insert(mask.end(), added.begin(), added.end());
    compare_integers(
        integer_row(recorded, row, 0, extent(recorded, AxisKind::kPosition)),
        mask, row, "position", comparison);
  }
  return comparison;
}

}  // namespace kvtape
