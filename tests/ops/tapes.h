// Small sound tapes in memory, to be spoiled by tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape::test {

/// Sizes of a sound tape.
struct TapeShape {
  std::int64_t layers = 3;
  std::int64_t batch = 2;
  std::int64_t length = 8;
  std::int64_t key_heads = 2;
  std::int64_t query_heads = 4;
  std::int64_t dim = 6;
  std::int64_t filled = 5;  // positions below index
  std::int64_t pads = 1;    // on the left
  std::vector<std::int64_t> steps = {2, 1};
};

inline Axis axis(AxisKind kind, std::int64_t size) {
  switch (kind) {
    case AxisKind::kBatch:
      return {kind, "batch", size};
    case AxisKind::kPosition:
      return {kind, "position", size};
    case AxisKind::kToken:
      return {kind, "token", size};
    case AxisKind::kHead:
      return {kind, "head", size};
    case AxisKind::kDim:
      return {kind, "dim", size};
    case AxisKind::kLayer:
      break;
  }
  return {kind, "layer", size};
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

inline Tensor int_tensor(std::vector<Axis> axes,
                         const std::vector<std::int32_t>& numbers) {
  return make_tensor(DType::kI32, std::move(axes), bytes_of(numbers));
}

inline Tensor float_tensor(std::vector<Axis> axes,
                           const std::vector<float>& numbers) {
  return make_tensor(DType::kF32, std::move(axes), bytes_of(numbers));
}

inline std::vector<Axis> row_axis(std::int64_t rows) {
  return {axis(AxisKind::kBatch, rows)};
}

inline std::vector<Axis> cache_axes(const std::vector<std::int64_t>& sizes,
                                    AxisKind along = AxisKind::kPosition) {
  return {axis(AxisKind::kBatch, sizes[0]), axis(along, sizes[1]),
          axis(AxisKind::kHead, sizes[2]), axis(AxisKind::kDim, sizes[3])};
}

/// Numbers in (0, 1), none twice in one tensor.
inline std::vector<float> numbers(std::size_t count, std::uint32_t seed) {
  std::vector<float> result(count);
  for (std::size_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    result[i] = static_cast<float>((seed >> 8) + 1) / 16777217.0F;
  }
  return result;
}

/// A cache tensor whose slots in [first, last) hold numbers, the others 0.
inline Tensor cache_tensor(const std::vector<std::int64_t>& sizes,
                           std::int64_t first, std::int64_t last,
                           std::uint32_t seed) {
  const auto slot = static_cast<std::size_t>(sizes[2] * sizes[3]);
  const auto slots = static_cast<std::size_t>(sizes[0] * sizes[1]);
  std::vector<float> data = numbers(slots * slot, seed);
  for (std::size_t i = 0; i < slots; ++i) {
    const auto position = static_cast<std::int64_t>(i) % sizes[1];
    if (position < first || position >= last)
      std::memset(data.data() + i * slot, 0, slot * sizeof(float));
  }
  return float_tensor(cache_axes(sizes), data);
}

/// The tensor with its elements changed in place, in memory order.
template <typename T, typename Edit>
Tensor edited(const Tensor& tensor, const Edit& edit) {
  const auto bytes = tensor.source->bytes();
  std::vector<T> data(bytes.size() / sizeof(T));
  std::memcpy(data.data(), bytes.data(), bytes.size());
  edit(data);
  Tensor result = tensor;
  std::vector<std::int64_t> sizes;
  for (const Axis& of : tensor.axes) sizes.push_back(of.size);
  result.source = make_source(bytes_of(data), sizes, sizeof(T));
  return result;
}

/// An element of a cache tensor of the default shape.
inline std::size_t place(std::int64_t row, std::int64_t position,
                         std::int64_t head, std::int64_t dim) {
  const TapeShape shape;
  return static_cast<std::size_t>(
      ((row * shape.length + position) * shape.key_heads + head) * shape.dim +
      dim);
}

/// Gives an int8 tensor its scales [batch, position, head, 1].
inline void set_scales(Tensor& tensor, const std::vector<float>& scales) {
  tensor.quantization.scales = make_source(
      bytes_of(scales),
      {tensor.axes[0].size, tensor.axes[1].size, tensor.axes[2].size, 1},
      sizeof(float));
}

inline Tensor trace_tensor(const std::vector<std::int64_t>& sizes,
                           std::uint32_t seed) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return float_tensor(cache_axes(sizes, AxisKind::kToken),
                      numbers(static_cast<std::size_t>(count), seed));
}

inline Tensor row_vector(std::int64_t rows, std::int64_t number) {
  return int_tensor(row_axis(rows), std::vector<std::int32_t>(
                                        static_cast<std::size_t>(rows),
                                        static_cast<std::int32_t>(number)));
}

inline LayerCache sound_layer(const TapeShape& shape, std::int64_t number) {
  const std::vector<std::int64_t> sizes = {shape.batch, shape.length,
                                           shape.key_heads, shape.dim};
  const auto seed = static_cast<std::uint32_t>(number * 100);
  LayerCache layer;
  layer.key = cache_tensor(sizes, shape.pads, shape.filled, seed + 1);
  layer.value = cache_tensor(sizes, shape.pads, shape.filled, seed + 2);
  layer.index = row_vector(shape.batch, shape.filled);
  layer.starts = row_vector(shape.batch, shape.pads);
  layer.layer_index = number;
  return layer;
}

inline Cache sound_cache(const TapeShape& shape = {}) {
  Cache cache;
  cache.metadata = {.batch_size = shape.batch,
                    .sequence_length = shape.length,
                    .num_hidden_layers = shape.layers,
                    .pad_token_id = 0,
                    .num_heads = shape.key_heads,
                    .head_dim = shape.dim};
  for (std::int64_t number = 0; number < shape.layers; ++number)
    cache.layers[number] = sound_layer(shape, number);
  cache.attention.query_heads = shape.query_heads;
  std::vector<std::int32_t> mask;
  for (std::int64_t row = 0; row < shape.batch; ++row)
    for (std::int64_t position = 0; position < shape.length; ++position)
      mask.push_back(position < shape.pads ? 0 : 1);
  cache.attention_mask = int_tensor({axis(AxisKind::kBatch, shape.batch),
                                     axis(AxisKind::kPosition, shape.length)},
                                    mask);
  return cache;
}

inline Trace sound_trace(const TapeShape& shape = {}) {
  Trace trace;
  std::vector<std::int32_t> lengths;
  std::int64_t tokens = 0;
  for (const std::int64_t length : shape.steps) {
    lengths.push_back(static_cast<std::int32_t>(length));
    tokens += length;
  }
  trace.step_lengths = int_tensor(
      {axis(AxisKind::kToken, static_cast<std::int64_t>(lengths.size()))},
      lengths);
  for (std::int64_t number = 0; number < shape.layers; ++number) {
    const auto seed = static_cast<std::uint32_t>(number * 100 + 10);
    LayerTrace& layer = trace.layers[number];
    layer.query =
        trace_tensor({shape.batch, tokens, shape.query_heads, shape.dim}, seed);
    layer.key = trace_tensor({shape.batch, tokens, shape.key_heads, shape.dim},
                             seed + 1);
    layer.value = trace_tensor(
        {shape.batch, tokens, shape.key_heads, shape.dim}, seed + 2);
    layer.output = trace_tensor(
        {shape.batch, tokens, shape.query_heads, shape.dim}, seed + 3);
  }
  return trace;
}

/// A cache, a trace that fills it, and the index after it.
inline Tape sound_tape(const TapeShape& shape = {}) {
  Tape tape;
  tape.source = "easydel";
  tape.cache = sound_cache(shape);
  tape.trace = sound_trace(shape);
  tape.final_state.emplace();
  std::int64_t tokens = 0;
  for (const std::int64_t length : shape.steps) tokens += length;
  for (std::int64_t number = 0; number < shape.layers; ++number) {
    LayerCache& layer = tape.final_state->layers[number];
    layer = sound_layer(shape, number);
    layer.index = row_vector(shape.batch, shape.filled + tokens);
  }
  return tape;
}

}  // namespace kvtape::test
