// The layers of a cache as text: one row for those that are alike.
#include "report/info_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "report/info_facts.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

// The cells of a layer without its number, and the layers that share them.
struct LayerRow {
  std::vector<std::int64_t> layers;
  std::vector<std::string> cells;
};

// Calls `describe` for each key and value, keeps each answer once.
template <typename Describe>
std::string distinct(const Cache& cache, Describe describe) {
  std::vector<std::string> found;
  std::set<std::string> known;
  const auto add = [&](const std::optional<Tensor>& tensor) {
    if (!tensor) return;
    const auto [text, is_new] = known.insert(describe(*tensor));
    if (is_new) found.push_back(*text);
  };
  for (const auto& [number, layer] : cache.layers) {
    add(layer.key);
    add(layer.value);
  }
  return printable(joined(found, "; "));
}

std::string axis_text(const Axis& axis) {
  const std::string_view kind = name(axis.kind);
  if (axis.name.empty() || axis.name == kind) return std::string(kind);
  return fmt::format("{} ({})", printable(axis.name), kind);
}

std::string tensor_storage(const Tensor& tensor) {
  if (!tensor.source) return "nowhere";
  const Storage storage = tensor.source->storage();
  std::string text = printable(storage.layout);
  if (!storage.filters.empty()) {
    text += fmt::format(" ({})", printable(storage.filters));
  }
  return text + (is_mapped(tensor) ? ", mapped" : "");
}

// Of NF4 keys or values, else 0.
std::int64_t block_size(const LayerCache& layer) {
  std::int64_t size = 0;
  for (const auto* tensor : {&layer.key, &layer.value}) {
    if (*tensor) size = std::max(size, (*tensor)->quantization.block_size);
  }
  return size;
}

// "frozen", "window 512", what a layer says of attention, ...
std::vector<std::string> notes(std::int64_t number, const LayerCache& layer,
                               const Dimensions& sizes) {
  std::vector<std::string> parts;
  if (layer.layer_index.value_or(number) != number) {
    parts.push_back(fmt::format("layer_index {}", *layer.layer_index));
  }
  if (layer.layout.value_or(Layout::kLinear) != Layout::kLinear) {
    parts.push_back(fmt::format("{} layout", name(*layer.layout)));
  }
  if (layer.window.value_or(0) != 0) {
    parts.push_back(fmt::format("window {}", *layer.window));
  }
  if (layer.frozen.value_or(false)) parts.push_back("frozen");
  if (layer.slot_position) parts.push_back("slot positions");
  if (const std::int64_t block = block_size(layer); block > 0) {
    parts.push_back(fmt::format("blocks of {}", block));
  }
  for (const auto& list :
       {settings(layer.attention, sizes), settings(layer.rotary, sizes)}) {
    for (const Setting& setting : list) {
      if (setting.said) parts.push_back(setting.text);
    }
  }
  return parts;
}

// "5", "3-9"; empty where there are no numbers.
std::string small_span(const std::optional<Tensor>& tensor) {
  const auto numbers = readable_integers(tensor);
  return numbers && !numbers->empty() ? span_text(*numbers) : "";
}

LayerRow row_of(std::int64_t number, const LayerCache& layer,
                const Dimensions& sizes) {
  const std::string starts = small_span(layer.starts);
  return {.layers = {number},
          .cells = {layer.key ? tensor_text(*layer.key) : "-",
                    layer.value ? tensor_text(*layer.value) : "-",
                    small_span(layer.index), starts == "0" ? "" : starts,
                    bytes_text(layer_bytes(layer)),
                    joined(notes(number, layer, sizes))}};
}

std::vector<LayerRow> layer_rows(const Cache& cache, bool fold) {
  const Dimensions sizes = dimensions(cache);
  std::vector<LayerRow> rows;
  std::map<std::vector<std::string>, std::size_t> row_of_cells;
  for (const auto& [number, layer] : cache.layers) {
    LayerRow row = row_of(number, layer, sizes);
    const auto [place, is_new] = row_of_cells.insert({row.cells, rows.size()});
    if (fold && !is_new) {
      rows[place->second].layers.push_back(number);
    } else {
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// Columns that nobody uses are left out.
Table without_empty_columns(const Table& table) {
  Table result;
  result.rows.resize(table.rows.size());
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    const bool used =
        std::any_of(table.rows.begin(), table.rows.end(),
                    [&](const auto& row) { return !row[column].empty(); });
    if (!used) continue;
    result.columns.push_back(table.columns[column]);
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      result.rows[row].push_back(table.rows[row][column]);
    }
  }
  return result;
}

}  // namespace

std::string span_text(const std::vector<std::int64_t>& numbers) {
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  return *low == *high ? fmt::format("{}", *low)
                       : fmt::format("{}-{}", *low, *high);
}

std::string tensor_text(const Tensor& tensor) {
  const std::string dtype =
      tensor.quantized()
          ? fmt::format("{} ({})", stored_as(tensor), name(tensor.dtype))
          : std::string(name(tensor.dtype));
  return dtype + " " + shape_text(tensor);
}

std::string dtypes_text(const Cache& cache) {
  return distinct(cache, [](const Tensor& tensor) {
    return std::string(stored_as(tensor));
  });
}

std::string axes_text(const Cache& cache) {
  return distinct(cache, [](const Tensor& tensor) {
    std::vector<std::string> axes;
    for (const Axis& axis : tensor.axes) axes.push_back(axis_text(axis));
    return joined(axes);
  });
}

std::string storage_text(const Cache& cache) {
  return distinct(cache, tensor_storage);
}

std::string padding_text(const Cache& cache) {
  for (const auto& [number, layer] : cache.layers) {
    const auto starts = readable_integers(layer.starts);
    if (!starts) continue;
    const auto padded = std::count_if(starts->begin(), starts->end(),
                                      [](auto start) { return start > 0; });
    if (padded == 0) continue;
    return fmt::format("left in {} of {} rows, starts {}", padded,
                       starts->size(), span_text(*starts));
  }
  return "";
}

std::string layer_table(const Cache& cache, const TextStyle& style) {
  const std::vector<LayerRow> rows = layer_rows(cache, style.verbosity == 0);
  if (rows.empty()) return "";
  Table table{.columns = {{"layer"},
                          {"key"},
                          {"value"},
                          {"filled", Align::kRight},
                          {"starts", Align::kRight},
                          {"bytes", Align::kRight},
                          {"notes"}},
              .rows = {}};
  for (const LayerRow& row : rows) {
    std::vector<std::string> cells{printable(ranges_text(row.layers), 40)};
    cells.insert(cells.end(), row.cells.begin(), row.cells.end());
    if (row.layers.size() > 1) cells[5] += " each";
    table.rows.push_back(std::move(cells));
  }
  return '\n' + table_text(without_empty_columns(table));
}

}  // namespace kvtape
