// Checks of index, starts and slot_position: which slots of a layer count.
#include <limits>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

using Numbers = std::vector<std::int64_t>;

// The first row for which `bad` holds, and how many there are.
template <typename Bad>
void report_rows(Found found, std::size_t rows, const Numbers& numbers,
                 const Bad& bad, Findings& findings) {
  std::size_t count = 0;
  std::size_t first = rows;
  for (std::size_t row = 0; row < rows; ++row)
    if (bad(row)) {
      first = count == 0 ? row : first;
      ++count;
    }
  if (count == 0) return;
  found.found =
      std::to_string(numbers[first]) + " in row " + std::to_string(first);
  if (count > 1) found.found += ", and " + std::to_string(count - 1) + " more";
  findings.add(std::move(found));
}

// The numbers of index or starts, one per row; findings where it is not that.
std::optional<Numbers> row_numbers(const std::string& path,
                                   const std::optional<Tensor>& tensor,
                                   std::int64_t rows, Findings& findings) {
  if (!tensor) return {};
  if (is_float(tensor->dtype)) {
    findings.add({.rule = "E27",
                  .object = path,
                  .field = "dtype",
                  .expected = "i32",
                  .found = std::string(name(tensor->dtype))});
    return {};
  }
  if (tensor->dtype != DType::kI32)
    findings.add({.rule = "W14",
                  .object = path,
                  .field = "dtype",
                  .expected = "i32",
                  .found = std::string(name(tensor->dtype))});
  if (element_count(*tensor) != rows) {
    findings.add({.rule = "E28",
                  .object = path,
                  .field = "shape",
                  .expected = text_of(std::vector{rows}),
                  .found = shape_text(*tensor)});
    return {};
  }
  auto numbers = small_integers(tensor);
  if (!numbers && !is_absent(*tensor))
    findings.add({.rule = "E27",
                  .object = path,
                  .field = "values",
                  .expected = "integers below 2^63",
                  .found = "larger ones"});
  return numbers;
}

void check_not_negative(const char* rule, const std::string& path,
                        const std::optional<Numbers>& numbers,
                        Findings& findings) {
  if (!numbers) return;
  report_rows(
      {.rule = rule, .object = path, .field = "values", .expected = ">= 0"},
      numbers->size(), *numbers,
      [&](std::size_t row) { return (*numbers)[row] < 0; }, findings);
}

// The largest index that did not overwrite anything.
std::int64_t largest_index(const LayerCache& layer, const Sizes& sizes) {
  const std::int64_t extent = extents_of(*either(layer)).position;
  switch (layout_of(layer)) {
    case Layout::kLinear:
      return sizes.length.value_or(extent);
    case Layout::kGrowing:
      return extent;
    case Layout::kRing:
    case Layout::kShift:
      break;
  }
  return std::numeric_limits<std::int64_t>::max();
}

void check_index(const std::string& path, const LayerCache& layer,
                 const Sizes& sizes, const Numbers& index, Findings& findings) {
  const std::int64_t extent = extents_of(*either(layer)).position;
  const std::int64_t most = largest_index(layer, sizes);
  report_rows(
      {.rule = "E29",
       .object = path + "/index",
       .field = "values",
       .expected = "at most " + std::to_string(most)},
      index.size(), index, [&](std::size_t row) { return index[row] > most; },
      findings);
  if (layout_of(layer) == Layout::kGrowing)
    report_rows(
        {.rule = "W15",
         .object = path + "/index",
         .field = "values",
         .expected = std::to_string(extent) + ", the length"},
        index.size(), index,
        [&](std::size_t row) { return index[row] >= 0 && index[row] < extent; },
        findings);
}

// A fresh cache has an index of 0 whatever its starts are.
void check_order(const std::string& path, const Numbers& index,
                 const Numbers& starts, Findings& findings) {
  report_rows(
      {.rule = "E32",
       .object = path + "/starts",
       .field = "values",
       .expected = "at most index"},
      starts.size(), starts,
      [&](std::size_t row) {
        return index[row] > 0 && starts[row] > index[row];
      },
      findings);
}

void check_slot_position(const std::string& path, const LayerCache& layer,
                         Findings& findings) {
  if (!layer.slot_position) return;
  const Tensor& slots = *layer.slot_position;
  const Extents has = extents_of(*either(layer));
  if (is_float(slots.dtype))
    findings.add({.rule = "E27",
                  .object = path + "/slot_position",
                  .field = "dtype",
                  .expected = "i32",
                  .found = std::string(name(slots.dtype))});
  const Extents found = extents_of(slots);
  if (found.batch != has.batch || found.position != has.position)
    findings.add({.rule = "E36",
                  .object = path + "/slot_position",
                  .field = "shape",
                  .expected = text_of(std::vector{has.batch, has.position}),
                  .found = shape_text(slots)});
}

void check_layer(std::int64_t number, const LayerCache& layer,
                 const Sizes& sizes, Findings& findings) {
  const std::string path = layer_path(number);
  const std::int64_t rows = extents_of(*either(layer)).batch;
  const auto index = row_numbers(path + "/index", layer.index, rows, findings);
  const auto starts =
      row_numbers(path + "/starts", layer.starts, rows, findings);
  check_not_negative("E30", path + "/index", index, findings);
  check_not_negative("E31", path + "/starts", starts, findings);
  if (index) check_index(path, layer, sizes, *index, findings);
  if (index && starts) check_order(path, *index, *starts, findings);
  if (!layer.index && layout_of(layer) != Layout::kGrowing)
    findings.add({.rule = "W13",
                  .object = path,
                  .field = "index",
                  .expected = "one number per row",
                  .found = "none"});
  check_slot_position(path, layer, findings);
}

}  // namespace

void check_marks(const Cache& cache, Findings& findings) {
  const Sizes sizes = sizes_of(cache.metadata);
  for (const auto& [number, layer] : cache.layers)
    if (is_usable(layer)) check_layer(number, layer, sizes, findings);
}

}  // namespace kvtape
