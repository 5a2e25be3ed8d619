#include "decode_case.h"

#include <algorithm>
#include <cmath>

#include "kernels/quantized.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape::bench {
namespace {

SlabView slab(const DecodeCache& cache, Order order,
              const std::vector<std::byte>& data,
              const std::vector<std::byte>& scales, std::int64_t first) {
  const Shape& shape = cache.shape;
  const bool heads_first = order == Order::kHeadFirst;
  const std::int64_t slot = heads_first ? shape.dim : shape.heads * shape.dim;
  const std::int64_t head = heads_first ? shape.slots * shape.dim : shape.dim;
  SlabView all{.data = data.data(),
               .dtype = cache.dtype,
               .shape = {shape.slots, shape.heads, shape.dim},
               .strides = {slot, head, 1}};
  if (cache.codes()) {
    all.scales = scales.data();
    all.scale_strides = {slot / shape.dim, head / shape.dim};
  }
  return cut(all, first, std::min(kernels::kSpan, shape.slots - first));
}

}  // namespace

std::string name(Order order) {
  return order == Order::kHeadFirst ? "[head,slot]" : "[slot,head]";
}

std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> data(static_cast<std::size_t>(count));
  for (float& x : data) {
    seed = seed * 1664525U + 1013904223U;
    x = static_cast<float>(seed >> 8) * 0x1p-23F - 1.0F;
  }
  return data;
}

std::vector<std::byte> stored(const std::vector<float>& data, DType dtype) {
  std::vector<std::byte> out(
      data.size() * static_cast<std::size_t>(bytes_per_element(dtype)));
  kernels::active().narrow_f32(data.data(), std::ssize(data), element_of(dtype),
                               out.data());
  return out;
}

DecodeCache decode_cache(const Shape& shape, DType dtype) {
  return {.shape = shape,
          .dtype = dtype,
          .key = stored(numbers(shape.elements(), 2), dtype),
          .value = stored(numbers(shape.elements(), 3), dtype)};
}

DecodeCache decode_codes(const Shape& shape) {
  DecodeCache cache{.shape = shape, .dtype = DType::kBF16};
  const auto quantize = [&](std::uint32_t seed, std::vector<std::byte>& codes,
                            std::vector<std::byte>& scales) {
    const std::int64_t rows = shape.slots * shape.heads;
    codes.resize(static_cast<std::size_t>(shape.elements()));
    scales.resize(
        static_cast<std::size_t>(rows * bytes_per_element(cache.dtype)));
    kernels::quantize_int8(
        numbers(shape.elements(), seed).data(), element_of(cache.dtype), rows,
        shape.dim, reinterpret_cast<std::int8_t*>(codes.data()), scales.data());
  };
  quantize(2, cache.key, cache.key_scales);
  quantize(3, cache.value, cache.value_scales);
  return cache;
}

Decode::Decode(const DecodeCache& cache, Order order,
               const std::vector<float>& query)
    : output_(query.size()) {
  const Shape& shape = cache.shape;
  for (std::int64_t at = 0; at < shape.slots; at += kernels::kSpan)
    pages_.push_back(
        {.key = slab(cache, order, cache.key, cache.key_scales, at),
         .value = slab(cache, order, cache.value, cache.value_scales, at)});
  for (std::int64_t token = 1; token <= shape.tokens; ++token)
    tokens_.push_back({.first = 0, .last = shape.slots - shape.tokens + token});
  problem_ = {.pages = pages_,
              .slots = shape.slots,
              .attention = {.query_heads = shape.query_heads,
                            .softmax_scale =
                                1 / std::sqrt(static_cast<double>(shape.dim))},
              .key_heads = shape.heads,
              .value_heads = shape.heads,
              .key_dim = shape.dim,
              .value_dim = shape.dim,
              .query = query.data(),
              .tokens = tokens_,
              .output = output_.data()};
}

}  // namespace kvtape::bench
