#include "ops/gathered_source.h"

#include <algorithm>

#include "core/box.h"
#include "ops/box_parts.h"
#include "ops/shard_axes.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

struct PlacedSource {
  std::shared_ptr<const SlabSource> source;
  Box box;  // its place in the whole
};

// What two boxes share, if anything.
std::optional<Box> shared_box(const Box& a, const Box& b) {
  Box result = a;
  for (std::size_t axis = 0; axis < a.first.size(); ++axis) {
    const std::int64_t last =
        std::min(a.first[axis] + a.count[axis], b.first[axis] + b.count[axis]);
    result.first[axis] = std::max(a.first[axis], b.first[axis]);
    result.count[axis] = last - result.first[axis];
    if (result.count[axis] <= 0) return std::nullopt;
  }
  return result;
}

Box relative_to(Box box, const Box& origin) {
  for (std::size_t axis = 0; axis < box.first.size(); ++axis)
    box.first[axis] -= origin.first[axis];
  return box;
}

class GatheredSource final : public SlabSource {
 public:
  GatheredSource(std::vector<PlacedSource> parts, Sizes sizes, int size)
      : parts_(std::move(parts)), sizes_(std::move(sizes)), size_(size) {}

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, size_, out.size());
    if (out.empty()) return;
    std::vector<std::byte> packed;
    for (const PlacedSource& part : parts_) {
      const auto common = shared_box(box, part.box);
      if (!common) continue;
      packed.resize(static_cast<std::size_t>(product(common->count) * size_));
      part.source->read(relative_to(*common, part.box), packed);
      paste_box(packed, relative_to(*common, box), box.count, size_,
                out.data());
    }
  }

  Storage storage() const override {
    return {.layout = "computed",
            .filters = "",
            .stored_bytes = product(sizes_) * size_};
  }

 private:
  std::vector<PlacedSource> parts_;
  Sizes sizes_;
  int size_;
};

Box box_of(const std::vector<Interval>& places) {
  Box box;
  for (const Interval& place : places) {
    box.first.push_back(place.first);
    box.count.push_back(place.size());
  }
  return box;
}

// The axes of a part, with the sizes of the whole.
std::vector<Axis> whole_axes(const Tensor& like,
                             const std::array<std::int64_t, 4>& shape) {
  std::vector<Axis> axes = like.axes;
  const std::int64_t rows = extent(like, AxisKind::kBatch);
  bool divided = false;
  for (Axis& axis : axes) {
    if (axis.kind == AxisKind::kPosition) axis.size = shape[1];
    if (axis.kind == AxisKind::kHead) axis.size = shape[2];
    if (axis.kind == AxisKind::kDim) axis.size = shape[3];
    if (axis.kind == AxisKind::kBatch && !divided) {
      axis.size *= rows == 0 ? 1 : shape[0] / rows;
      divided = true;
    }
  }
  return axes;
}

Sizes sizes_of(const std::vector<Axis>& axes) {
  Sizes sizes;
  for (const Axis& axis : axes) sizes.push_back(axis.size);
  return sizes;
}

// Codes or scales, `per_dims` of them for the dims of a head, in memory.
std::shared_ptr<const SlabSource> gathered_flat(
    const std::vector<PlacedSource>& parts, Sizes sizes, std::int64_t per_dims,
    int size) {
  sizes.back() = per_dims;
  std::vector<std::byte> whole(static_cast<std::size_t>(product(sizes) * size));
  for (PlacedSource part : parts) {
    part.box.first.back() = 0;
    part.box.count.back() = per_dims;
    const std::int64_t count = product(part.box.count);
    std::vector<std::byte> packed(static_cast<std::size_t>(count * size));
    part.source->read({{0}, {count}}, packed);
    paste_box(packed, part.box, sizes, size, whole.data());
  }
  return make_source(std::move(whole), {product(sizes)}, size);
}

void gather_codes(const std::vector<GatheredPart>& parts,
                  std::vector<PlacedSource> placed, Tensor& tensor) {
  Quantization& q = tensor.quantization;
  const Sizes sizes = sizes_of(tensor.axes);
  const std::int64_t dims = sizes.back();
  const bool nf4 = q.scheme == Quantization::Scheme::kNF4;
  const std::int64_t codes = nf4 ? dims / 2 : dims;
  const std::int64_t scales = nf4 ? dims / q.block_size : 1;
  tensor.source = gathered_flat(placed, sizes, codes, 1);
  for (std::size_t i = 0; i < placed.size(); ++i)
    placed[i].source = parts[i].tensor->quantization.scales;
  q.scales =
      gathered_flat(placed, sizes, scales, bytes_per_element(q.scale_dtype));
  const std::int64_t heads = dims == 0 ? 0 : product(sizes) / dims;
  q.payload_count = heads * codes;
  q.scale_count = heads * scales;
}

}  // namespace

Tensor gathered(const Tensor& like, const std::array<std::int64_t, 4>& shape,
                const std::vector<GatheredPart>& parts,
                const std::string& path) {
  Tensor result = like;
  result.axes = whole_axes(like, shape);
  std::vector<PlacedSource> placed;
  for (const GatheredPart& part : parts)
    placed.push_back(
        {.source = part.tensor->source,
         .box = box_of(axis_places(result.axes, part.place, path))});
  if (like.quantized())
    gather_codes(parts, std::move(placed), result);
  else
    result.source = std::make_shared<GatheredSource>(
        std::move(placed), sizes_of(result.axes),
        bytes_per_element(like.dtype));
  return result;
}

}  // namespace kvtape
