// Random attention problems, and attention in float64 as the formula says it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/attend.h"

namespace kvtape::test {

/// xorshift64*: the same numbers with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2654435761U + 1) {}
  std::uint64_t bits();
  std::int64_t below(std::int64_t bound);  // [0, bound)
  bool chance(int percent) { return below(100) < percent; }
  double normal();  // mean 0, variance 1, |x| < 3.5

 private:
  std::uint64_t state_;
};

enum class Memory : std::uint8_t {
  kPositionHeadDim,
  kHeadPositionDim,
  kDimHeadPosition,  // penzai
  kSpread,           // gaps between positions, heads and dims
};

/// One of key and value: elements in memory, or int8 codes with a scale for
/// each slot and head, one byte off alignment.
struct Stored {
  DType dtype = DType::kF32;
  Memory memory = Memory::kPositionHeadDim;
  std::int64_t slots = 0;
  std::int64_t heads = 0;
  std::int64_t dims = 0;
  std::vector<double> numbers;   // [slot, head, dim], as stored
  std::vector<std::byte> bytes;  // what `slab` looks at
  bool codes = false;
  std::vector<std::byte> scales;  // [slot, head], of codes

  SlabView slab(std::int64_t first, std::int64_t count) const;
  double at(std::int64_t slot, std::int64_t head, std::int64_t dim) const;
};

/// Owns what an AttendProblem borrows.
struct Owned {
  Stored key;
  Stored value;
  std::vector<Page> pages;
  std::vector<float> query;
  std::vector<std::vector<std::uint8_t>> masks;
  std::vector<VisibleSlots> tokens;
  AttendProblem problem;

  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

/// What a random problem is drawn from.
struct Limits {
  std::int64_t slots = 200;
  std::int64_t tokens = 5;
  std::int64_t dims = 256;
  bool poison = true;  // NaN and Inf in slots that nobody sees
};

/// Fills `owned` with problem number `seed`.
void make_problem(std::uint64_t seed, const Limits& limits, Owned& owned);

/// Stores shape.numbers as the shape says, rounded to its dtype, or to codes.
Stored stored(Stored shape);

/// One line that says what the problem is.
std::string describe(const Owned& owned);

/// [token, query_head, value_dim], with exp and tanh of libm.
std::vector<double> attend64(const AttendProblem& problem, const Stored& key,
                             const Stored& value);

/// attend() into a vector.
std::vector<float> attended(const AttendProblem& problem,
                            const kernels::Kernels& kernels, ThreadPool& pool);

}  // namespace kvtape::test
