#include "ops/shard_tensor.h"

#include <fmt/format.h>

#include "ops/select_parts.h"
#include "ops/shard_axes.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

std::vector<AxisCut> cuts_of(const Tensor& tensor, const ShardPlace& place,
                             const std::string& path) {
  std::vector<AxisCut> cuts;
  for (const Interval& part : axis_places(tensor.axes, place, path))
    cuts.push_back({.first = part.first, .count = part.size()});
  return cuts;
}

}  // namespace

std::vector<Interval> axis_places(const std::vector<Axis>& axes,
                                  const ShardPlace& place,
                                  const std::string& path) {
  Interval rows = place[0];
  std::int64_t inner = 1;  // rows of one index of the batch axis
  for (const Axis& axis : axes)
    if (axis.kind == AxisKind::kBatch) inner *= axis.size;
  bool divided = false;
  std::vector<Interval> result;
  for (const Axis& axis : axes) {
    Interval part{.first = 0, .last = axis.size};
    if (axis.kind == AxisKind::kPosition) part = place[1];
    if (axis.kind == AxisKind::kHead) part = place[2];
    if (axis.kind == AxisKind::kDim) part = place[3];
    if (axis.kind == AxisKind::kBatch && !divided) {
      divided = true;  // the slowest one
      inner /= axis.size == 0 ? 1 : axis.size;
      if (rows.first % inner != 0 || rows.last % inner != 0)
        contradiction(path, "batch", "parts of the first of several batch axes",
                      fmt::format("rows {} to {}", rows.first, rows.last));
      part = {.first = rows.first / inner, .last = rows.last / inner};
    }
    result.push_back(part);
  }
  return result;
}

Tensor cut_to(Tensor tensor, const ShardPlace& place, const std::string& path) {
  check_tensor(
      tensor, path,
      {AxisKind::kPosition, AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  const std::vector<AxisCut> cuts = cuts_of(tensor, place, path);
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  if (tensor.quantized()) {
    if (cuts.back().size() != sizes.back())
      contradiction(
          path, "kv_head_dim", "no parts of quantized tensors",
          fmt::format("{} of {} dims", cuts.back().size(), sizes.back()));
    std::optional<Tensor> whole = std::move(tensor);
    cut_codes({.path = path, .layer = std::nullopt, .tensor = &whole}, cuts);
    tensor = std::move(*whole);
  } else {
    tensor.source =
        cut_source(tensor.source, sizes, cuts, bytes_per_element(tensor.dtype));
  }
  for (std::size_t axis = 0; axis < cuts.size(); ++axis)
    tensor.axes[axis].size = cuts[axis].size();
  return tensor;
}

}  // namespace kvtape
