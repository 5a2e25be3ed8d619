// Caches in the parts that devices hold.
#include "kvtape/sharding.h"

#include <fmt/format.h>

#include <set>

#include "core/checked.h"
#include "kvtape/error.h"
#include "ops/gathered_source.h"
#include "ops/shard_tensor.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

constexpr std::array<const char*, 4> kAxes{"batch", "kv_length", "kv_head",
                                           "kv_head_dim"};

// How an axis is divided, and the part of one device.
struct Division {
  std::int64_t parts = 1;
  std::int64_t part = 0;
};

// The device's place along a mesh axis.
Division along(const Mesh& mesh, const std::string& name, std::int64_t device) {
  std::int64_t stride = 1;
  for (std::size_t i = mesh.size(); i-- > 0;) {
    if (mesh[i].name == name)
      return {.parts = mesh[i].size, .part = device / stride % mesh[i].size};
    stride *= mesh[i].size;
  }
  contradiction("", "partition axes", "an axis of the mesh",
                "\"" + name + "\"");
}

Division division(const Mesh& mesh, const std::vector<std::string>& names,
                  std::int64_t device) {
  Division result;
  for (const std::string& name : names) {
    const Division next = along(mesh, name, device);
    result.parts *= next.parts;
    result.part = result.part * next.parts + next.part;
  }
  return result;
}

std::array<const std::vector<std::string>*, 4> lists(
    const PartitionAxes& axes) {
  return {&axes.batch, &axes.kv_length, &axes.kv_head, &axes.kv_head_dim};
}

void check_used_once(const PartitionAxes& axes) {
  std::set<std::string> seen;
  for (const auto* list : lists(axes))
    for (const std::string& name : *list)
      if (!seen.insert(name).second)
        contradiction("", "partition axes", "each mesh axis once",
                      "\"" + name + "\" twice");
}

// ---- the places of tensors

constexpr std::array<AxisKind, 4> kKinds{AxisKind::kBatch, AxisKind::kPosition,
                                         AxisKind::kHead, AxisKind::kDim};

// Calls visit(leaf, member) for each tensor of a layer that is divided.
template <typename Layer, typename Visit>
void for_each_tensor(Layer& layer, const Visit& visit) {
  visit("/key", layer.key);
  visit("/value", layer.value);
  visit("/index", layer.index);
  visit("/starts", layer.starts);
  visit("/slot_position", layer.slot_position);
}

std::array<std::int64_t, 4> shape_of(const Tensor& tensor) {
  std::array<std::int64_t, 4> shape{};
  for (std::size_t i = 0; i < 4; ++i) shape[i] = extent(tensor, kKinds[i]);
  return shape;
}

// Those axes that the tensor has.
PartitionAxes axes_for(const Tensor& tensor, const PartitionAxes& axes) {
  PartitionAxes result = axes;
  if (!has_axis(tensor, AxisKind::kPosition)) result.kv_length.clear();
  if (!has_axis(tensor, AxisKind::kHead)) result.kv_head.clear();
  if (!has_axis(tensor, AxisKind::kDim)) result.kv_head_dim.clear();
  return result;
}

ShardPlace place_of(const Tensor& tensor, const std::string& path,
                    const Mesh& mesh, const PartitionAxes& axes,
                    std::int64_t device) {
  try {
    return shard_place(shape_of(tensor), mesh, axes_for(tensor, axes), device);
  } catch (const Error& error) {
    ErrorParts parts = error.parts();
    parts.object = path;
    throw Error(std::move(parts));
  }
}

// Sizes of the whole of which a device has this part.
std::array<std::int64_t, 4> whole_shape(const Tensor& part, const Mesh& mesh,
                                        const PartitionAxes& axes) {
  auto shape = shape_of(part);
  const PartitionAxes own = axes_for(part, axes);
  const auto names = lists(own);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto size = checked_mul(shape[i], division(mesh, *names[i], 0).parts);
    if (!size) contradiction("", kAxes[i], "a size of 63 bits", "more");
    shape[i] = *size;
  }
  return shape;
}

// ---- gathering

using Member = std::optional<Tensor> LayerCache::*;

struct Gatherer {
  const std::vector<Cache>& shards;
  const Mesh& mesh;
  const PartitionAxes& axes;

  // The tensor at one place of every shard, put together.
  std::optional<Tensor> tensor(std::int64_t layer, const std::string& path,
                               Member member) const {
    const auto& first = shards.front().layers.at(layer).*member;
    if (!first) return std::nullopt;
    const PartitionAxes own = axes_for(*first, axes);
    const auto shape = whole_shape(*first, mesh, axes);
    std::vector<GatheredPart> parts;
    std::set<std::vector<std::int64_t>> seen;
    for (std::size_t device = 0; device < shards.size(); ++device) {
      const auto place =
          shard_place(shape, mesh, own, static_cast<std::int64_t>(device));
      std::vector<std::int64_t> first_of;
      for (const Interval& along_axis : place)
        first_of.push_back(along_axis.first);
      if (!seen.insert(first_of).second) continue;  // a copy of it
      const Tensor& part = part_of(device, layer, path, member);
      check_part(*first, part, path, device);
      parts.push_back({.tensor = &part, .place = place});
    }
    return gathered(*first, shape, parts, path);
  }

  const Tensor& part_of(std::size_t device, std::int64_t layer,
                        const std::string& path, Member member) const {
    const auto& layers = shards[device].layers;
    const auto found = layers.find(layer);
    if (found == layers.end() || !(found->second.*member))
      contradiction(path, fmt::format("device {}", device), "a part", "none");
    return *(found->second.*member);
  }

  // Codes of a head stand by themselves.
  static void check_blocks(const Tensor& part, const std::string& path) {
    check_quantized(part, path);
    const std::int64_t dims = part.axes.back().size;
    const std::int64_t block = part.quantization.block_size;
    const bool nf4 = part.quantization.scheme == Quantization::Scheme::kNF4;
    if (part.axes.back().kind != AxisKind::kDim ||
        (nf4 && (dims % block != 0 || dims % 2 != 0)))
      contradiction(path, "block_size",
                    fmt::format("an even divisor of {} dims", dims),
                    std::to_string(block));
  }

  static void check_part(const Tensor& first, const Tensor& part,
                         const std::string& path, std::size_t device) {
    const std::string field = fmt::format("device {}", device);
    check_tensor(part, path,
                 {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim});
    if (part.quantized()) check_blocks(part, path);
    if (part.axes != first.axes)
      contradiction(path, field, "parts of " + shape_text(first),
                    shape_text(part));
    if (part.dtype != first.dtype ||
        part.quantization.scheme != first.quantization.scheme ||
        part.quantization.block_size != first.quantization.block_size)
      contradiction(path, field, std::string(name(first.dtype)) + ", as others",
                    std::string(name(part.dtype)));
  }
};

}  // namespace

std::int64_t device_count(const Mesh& mesh) {
  std::int64_t count = 1;
  std::set<std::string> names;
  for (const MeshAxis& axis : mesh) {
    const auto next = checked_mul(count, axis.size);
    if (axis.size < 1 || !next)
      contradiction("", "mesh axis " + axis.name, "a positive size",
                    std::to_string(axis.size));
    if (!names.insert(axis.name).second)
      contradiction("", "mesh", "axes of different names",
                    "\"" + axis.name + "\" twice");
    count = *next;
  }
  return count;
}

ShardPlace shard_place(const std::array<std::int64_t, 4>& shape,
                       const Mesh& mesh, const PartitionAxes& axes,
                       std::int64_t device) {
  const std::int64_t devices = device_count(mesh);
  if (device < 0 || device >= devices)
    contradiction("", "device", fmt::format("0 to {}", devices - 1),
                  std::to_string(device));
  check_used_once(axes);
  ShardPlace place;
  const auto names = lists(axes);
  for (std::size_t i = 0; i < 4; ++i) {
    const Division divided = division(mesh, *names[i], device);
    if (shape[i] % divided.parts != 0)
      contradiction("", kAxes[i],
                    fmt::format("a multiple of {}", divided.parts),
                    std::to_string(shape[i]));
    const std::int64_t size = shape[i] / divided.parts;
    place[i] = {.first = divided.part * size,
                .last = (divided.part + 1) * size};
  }
  return place;
}

Cache shard(const Cache& cache, const Mesh& mesh, const PartitionAxes& axes,
            std::int64_t device) {
  Cache result = cache;
  for (auto& [number, layer] : result.layers) {
    const std::string path = fmt::format("/layers/{}", number);
    for_each_tensor(
        layer, [&](const char* leaf, std::optional<Tensor>& tensor) {
          if (!tensor) return;
          const std::string object = path + leaf;
          *tensor = cut_to(
              *tensor, place_of(*tensor, object, mesh, axes, device), object);
        });
  }
  return result;
}

Cache gather(const std::vector<Cache>& shards, const Mesh& mesh,
             const PartitionAxes& axes) {
  check_equal("", "shards", device_count(mesh), std::ssize(shards),
              "one for each device of the mesh");
  const Gatherer gatherer{shards, mesh, axes};
  Cache result = shards.front();
  for (auto& [number, layer] : result.layers) {
    const std::string path = fmt::format("/layers/{}", number);
    layer.key = gatherer.tensor(number, path + "/key", &LayerCache::key);
    layer.value = gatherer.tensor(number, path + "/value", &LayerCache::value);
    layer.index = gatherer.tensor(number, path + "/index", &LayerCache::index);
    layer.starts =
        gatherer.tensor(number, path + "/starts", &LayerCache::starts);
    layer.slot_position = gatherer.tensor(number, path + "/slot_position",
                                          &LayerCache::slot_position);
  }
  return result;
}

}  // namespace kvtape
