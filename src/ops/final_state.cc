// Bitwise comparison of final keys, values and indexes.
#include "ops/final_state.h"

#include <fmt/format.h>

#include <cstring>

#include "ops/slab_copy.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::string text_of(std::int64_t positions, std::int64_t heads,
                    std::int64_t dim) {
  return fmt::format("[{}, {}, {}]", positions, heads, dim);
}

// Why a row cannot be compared, or nothing.
std::string mismatch(const Tensor& recorded, const Tensor& start,
                     const PagedRows& rows) {
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
  if (!comparison.first.empty() && comparison.differing == 0) return;
  comparison.first = comparison.differing > 0 ? comparison.first
                                              : mismatch(recorded, start, rows);
  if (!comparison.first.empty() && comparison.differing == 0) return;
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
  FinalComparison comparison{.object = object};
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  if (rows != p.rows)
    comparison.first = "rows: expected " + std::to_string(rows) + ", found " +
                       std::to_string(p.rows);
  return comparison;
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
  if (recorded.index) {
    check_integers(*recorded.index, object + "/index", {});
    check_equal(object + "/index", "rows", p.rows,
                extent(*recorded.index, AxisKind::kBatch));
    layer.index = integers(*recorded.index);
    layer.index_comparison = FinalComparison{.object = object + "/index"};
  }
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
  if (!layer.index_comparison) return;
  FinalComparison& comparison = *layer.index_comparison;
  ++comparison.compared;
  const std::int64_t expected = layer.index[at(row)];
  if (expected != state.slots.index && comparison.differing++ == 0)
    comparison.first = "row " + std::to_string(row) + ": expected " +
                       std::to_string(expected) + ", found " +
                       std::to_string(state.slots.index);
}

void add_final_layer(const FinalLayer& layer, ReplayReport& report) {
  for (const auto* comparison :
       {&layer.key, &layer.value, &layer.index_comparison})
    if (*comparison) report.final_state.push_back(**comparison);
}

}  // namespace kvtape
