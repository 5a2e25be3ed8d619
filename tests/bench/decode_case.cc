#include "decode_case.h"

#include <algorithm>
#include <cmath>

namespace kvtape::bench {
namespace {

kernels::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return kernels::Element::kF64;
    case DType::kF16:
      return kernels::Element::kF16;
    case DType::kBF16:
      return kernels::Element::kBF16;
    default:
      return kernels::Element::kF32;
  }
}

SlabView slab(const DecodeCache& cache, Order order,
              const std::vector<std::byte>& data, std::int64_t first) {
  const Shape& shape = cache.shape;
  const bool heads_first = order == Order::kHeadFirst;
  const std::int64_t slot = heads_first ? shape.dim : shape.heads * shape.dim;
  const std::int64_t head = heads_first ? shape.slots * shape.dim : shape.dim;
  return {.data = data.data() + first * slot * bytes_per_element(cache.dtype),
          .dtype = cache.dtype,
          .shape = {std::min(kernels::kSpan, shape.slots - first), shape.heads,
                    shape.dim},
          .strides = {slot, head, 1}};
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

Decode::Decode(const DecodeCache& cache, Order order,
               const std::vector<float>& query)
    : output_(query.size()) {
  const Shape& shape = cache.shape;
  for (std::int64_t at = 0; at < shape.slots; at += kernels::kSpan)
    pages_.push_back({.key = slab(cache, order, cache.key, at),
                      .value = slab(cache, order, cache.value, at)});
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
