// A cache of one layer and row, and the attention of a few tokens over it,
// ready to be run again and again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/attend.h"

namespace kvtape::bench {

/// Slots, heads and dim of a cache; tokens that attend, each to the slots up
/// to its own, which are the last.
struct Shape {
  std::int64_t slots = 32768;
  std::int64_t query_heads = 32;
  std::int64_t heads = 8;
  std::int64_t dim = 128;
  std::int64_t tokens = 1;

  std::int64_t elements() const { return slots * heads * dim; }
  std::int64_t group() const { return query_heads / heads; }
  /// Pairs of a token and a slot that it sees.
  std::int64_t live() const {
    return tokens * (slots - tokens) + tokens * (tokens + 1) / 2;
  }
  /// Multiplications and additions of both products.
  double flops() const {
    return 4.0 * static_cast<double>(live() * query_heads * dim);
  }
};

/// [head, slot, dim] or [slot, head, dim].
enum class Order : std::uint8_t { kHeadFirst, kSlotFirst };
std::string name(Order order);

/// Cheap numbers that look random: mean 0, |x| < 1.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed);

/// The numbers rounded to `dtype`, one of f64, f32, f16, bf16.
std::vector<std::byte> stored(const std::vector<float>& data, DType dtype);

/// Elements of `dtype`, or int8 codes with a scale of it for every head of a
/// slot. The bytes serve as either order.
struct DecodeCache {
  Shape shape;
  DType dtype = DType::kF32;
  std::vector<std::byte> key;
  std::vector<std::byte> value;
  std::vector<std::byte> key_scales;
  std::vector<std::byte> value_scales;

  bool codes() const { return !key_scales.empty(); }
  std::string name() const {
    return codes() ? "int8" : std::string(kvtape::name(dtype));
  }
  std::int64_t bytes() const {
    return std::ssize(key) + std::ssize(value) + std::ssize(key_scales) +
           std::ssize(value_scales);
  }
};

/// The same numbers for every dtype.
DecodeCache decode_cache(const Shape& shape, DType dtype);

/// EasyDeL's 8-bit form, scales in bf16.
DecodeCache decode_codes(const Shape& shape);

/// Attention of the shape's tokens over a cache, which must outlive it.
class Decode {
 public:
  Decode(const DecodeCache& cache, Order order,
         const std::vector<float>& query);
  Decode(const Decode&) = delete;
  Decode& operator=(const Decode&) = delete;

  void run(const kernels::Kernels& kernels, ThreadPool& pool) {
    attend(problem_, kernels, pool);
  }
  const std::vector<float>& output() const { return output_; }

 private:
  std::vector<Page> pages_;
  std::vector<VisibleSlots> tokens_;
  std::vector<float> output_;
  AttendProblem problem_;
};

}  // namespace kvtape::bench
