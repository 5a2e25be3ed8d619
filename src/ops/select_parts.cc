// Tensors cut to the rows, heads and positions of a selection.
#include "ops/select_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/box_parts.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

AxisCut whole(std::int64_t size) { return {.first = 0, .count = size}; }

// Rows are numbers along all batch axes in C order: only some ranges of them
// are ranges of each axis.
void cut_rows(const TapeTensor& named, Interval rows,
              std::vector<AxisCut>& cuts) {
  const std::vector<Axis>& axes = (*named.tensor)->axes;
  std::int64_t inner = extent(**named.tensor, AxisKind::kBatch);
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    if (axes[axis].kind != AxisKind::kBatch) continue;
    inner /= axes[axis].size;
    const std::int64_t first = rows.first / inner;
    if (first == (rows.last - 1) / inner) {
      cuts[axis] = {.first = first, .count = 1};
      rows = {.first = rows.first % inner, .last = (rows.last - 1) % inner + 1};
      continue;
    }
    if (rows.first % inner != 0 || rows.last % inner != 0)
      contradiction(named.path, "row", "one row, or whole runs of rows",
                    fmt::format("{}:{} of batch axes {}", rows.first, rows.last,
                                shape_text(**named.tensor)),
                    fmt::format("rows {} apart belong together", inner));
    cuts[axis] = {.first = first, .count = (rows.last - rows.first) / inner};
    return;
  }
}

// Elements that one code, and one scale, stand for.
std::int64_t per_code(const Quantization& q) {
  return q.scheme == Quantization::Scheme::kNF4 ? 2 : 1;
}

}  // namespace

void cut_codes(const TapeTensor& named, const std::vector<AxisCut>& cuts) {
  Tensor& tensor = **named.tensor;
  Quantization& q = tensor.quantization;
  check_quantized(tensor, named.path);
  const bool nf4 = q.scheme == Quantization::Scheme::kNF4;
  const std::int64_t dims = tensor.axes.back().size;
  const std::int64_t block = nf4 ? q.block_size : dims;
  if (tensor.axes.back().kind != AxisKind::kDim || dims % block != 0 ||
      dims % per_code(q) != 0)
    contradiction(named.path, "block_size",
                  fmt::format("an even divisor of {} dims", dims),
                  std::to_string(block),
                  "blocks reach over heads: add --dtype to write what the "
                  "codes stand for");
  const auto flat = [&](std::shared_ptr<const SlabSource> base,
                        std::int64_t last, int bytes, std::int64_t& count) {
    std::vector<std::int64_t> sizes;
    for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
    std::vector<AxisCut> parts = cuts;
    sizes.back() = last;
    parts.back() = whole(last);
    count = 1;
    for (const AxisCut& cut : parts) count *= cut.size();
    return flat_cut_source(std::move(base), sizes, parts, bytes);
  };
  tensor.source = flat(tensor.source, dims / per_code(q), 1, q.payload_count);
  q.scales = flat(q.scales, dims / block, bytes_per_element(q.scale_dtype),
                  q.scale_count);
}

AxisCut CutTensors::head_cut(const TapeTensor& named, std::int64_t size) const {
  const Interval& kept = *parts_.heads;
  if (named.role == TensorRole::kKey || named.role == TensorRole::kValue) {
    check_equal(named.path, "heads", parts_.head_count, size,
                "heads are selected where all layers have the same number of "
                "key heads and value heads");
    return {.first = kept.first, .count = kept.size()};
  }
  const std::int64_t group = query_heads_.group;
  check_equal(named.path, "query_heads", parts_.head_count * group, size);
  if (query_heads_.tile)
    return {.first = kept.first,
            .count = kept.size(),
            .repeats = group,
            .period = parts_.head_count};
  return {.first = kept.first * group, .count = kept.size() * group};
}

std::vector<AxisCut> CutTensors::cuts_of(const TapeTensor& named) const {
  const Tensor& tensor = **named.tensor;
  std::vector<AxisCut> cuts;
  for (const Axis& axis : tensor.axes) {
    AxisCut cut = whole(axis.size);
    if (axis.kind == AxisKind::kPosition && parts_.positions) {
      // Masks and tokens may be shorter or longer than the cache.
      cut.first = std::min(parts_.positions->first, axis.size);
      cut.count = std::min(parts_.positions->last, axis.size) - cut.first;
    } else if (axis.kind == AxisKind::kHead && parts_.heads) {
      cut = head_cut(named, axis.size);
    }
    cuts.push_back(cut);
  }
  if (parts_.rows && has_axis(tensor, AxisKind::kBatch) &&
      named.role != TensorRole::kSteps) {
    check_equal(named.path, "rows", parts_.row_count,
                extent(tensor, AxisKind::kBatch));
    cut_rows(named, *parts_.rows, cuts);
  }
  return cuts;
}

void CutTensors::run(const TapeTensor& named) {
  Tensor& tensor = **named.tensor;
  check_tensor(
      tensor, named.path,
      {AxisKind::kPosition, AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  const std::vector<AxisCut> cuts = cuts_of(named);
  std::vector<std::int64_t> sizes;
  bool all = true;
  for (std::size_t axis = 0; axis < cuts.size(); ++axis) {
    sizes.push_back(tensor.axes[axis].size);
    all = all && cuts[axis].size() == sizes.back();
  }
  if (all) return;
  if (tensor.quantized()) {
    cut_codes(named, cuts);
  } else {
    auto& made = made_[tensor.source.get()];
    if (!made)
      made = cut_source(tensor.source, sizes, cuts,
                        bytes_per_element(tensor.dtype));
    tensor.source = made;
  }
  for (std::size_t axis = 0; axis < cuts.size(); ++axis)
    tensor.axes[axis].size = cuts[axis].size();
}

}  // namespace kvtape
