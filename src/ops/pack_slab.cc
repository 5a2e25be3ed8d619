#include "ops/pack_slab.h"

#include <algorithm>
#include <cstring>

namespace kvtape {
namespace {

constexpr std::int64_t kTile = 64;  // positions, and dims, of a tile

// Turns one tile by way of a small padded square: straight from one to the
// other the strides are powers of two, and share a few sets of the cache.
template <typename T>
void pack_tile(const std::byte* from, std::int64_t position_stride,
               std::int64_t dim_stride, std::int64_t positions,
               std::int64_t dims, std::byte* to, std::int64_t slot_bytes) {
  T tile[kTile][kTile + 2];
  for (std::int64_t dim = 0; dim < dims; ++dim) {
    const std::byte* run = from + dim * dim_stride;
    if (position_stride == static_cast<std::int64_t>(sizeof(T)))
      std::memcpy(tile[dim], run,
                  static_cast<std::size_t>(positions) * sizeof(T));
    else
      for (std::int64_t position = 0; position < positions; ++position)
        std::memcpy(&tile[dim][position], run + position * position_stride,
                    sizeof(T));
  }
  T slot[kTile];
  for (std::int64_t position = 0; position < positions; ++position) {
    for (std::int64_t dim = 0; dim < dims; ++dim)
      slot[dim] = tile[dim][position];
    std::memcpy(to + position * slot_bytes, slot,
                static_cast<std::size_t>(dims) * sizeof(T));
  }
}

// Packs [position, head, dim] to C order.
template <typename T>
void pack(const SlabView& view, std::byte* to) {
  const auto [positions, heads, dims] = view.shape;
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  const auto [by_position, by_head, by_dim] = view.strides;
  for (std::int64_t first = 0; first < positions; first += kTile)
    for (std::int64_t head = 0; head < heads; ++head)
      for (std::int64_t dim = 0; dim < dims; dim += kTile)
        pack_tile<T>(
            view.data +
                kSize * (first * by_position + head * by_head + dim * by_dim),
            kSize * by_position, kSize * by_dim,
            std::min(kTile, positions - first), std::min(kTile, dims - dim),
            to + kSize * ((first * heads + head) * dims + dim),
            kSize * heads * dims);
}

// The same where a head's dimensions lie together (transformers).
void pack_heads(const SlabView& view, std::byte* to) {
  const auto [positions, heads, dims] = view.shape;
  const std::int64_t size = bytes_per_element(view.dtype);
  const auto run = static_cast<std::size_t>(dims * size);
  for (std::int64_t position = 0; position < positions; ++position)
    for (std::int64_t head = 0; head < heads; ++head, to += run)
      std::memcpy(to,
                  view.data + size * (position * view.strides[0] +
                                      head * view.strides[1]),
                  run);
}

bool lies_together(const SlabView& view) {
  const auto [positions, heads, dims] = view.shape;
  return (dims <= 1 || view.strides[2] == 1) &&
         (heads <= 1 || view.strides[1] == dims) &&
         (positions <= 1 || view.strides[0] == heads * dims);
}

}  // namespace

const std::byte* packed(const SlabView& view, std::vector<std::byte>& buffer) {
  if (lies_together(view)) return view.data;
  const auto [positions, heads, dims] = view.shape;
  const int size = bytes_per_element(view.dtype);
  const auto needed = static_cast<std::size_t>(positions * heads * dims * size);
  if (buffer.size() < needed) buffer.resize(needed);
  if (view.strides[2] == 1)
    pack_heads(view, buffer.data());
  else if (size == 2)
    pack<std::uint16_t>(view, buffer.data());
  else if (size == 4)
    pack<std::uint32_t>(view, buffer.data());
  else
    pack<std::uint64_t>(view, buffer.data());
  return buffer.data();
}

}  // namespace kvtape
