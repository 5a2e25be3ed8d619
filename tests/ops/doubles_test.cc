// All elements of a tensor as doubles, against the reference.
#include <catch2/catch.hpp>

#include "kvtape/error.h"
#include "kvtape/tensor.h"
#include "random_tape.h"
#include "reference/storage64.h"

namespace kvtape {
namespace {

using tests::random_tape;

Tensor random_key(DType dtype, const char* order = "bphd") {
  return *random_tape({.batch = {2, 3},
                       .extent = 5,
                       .key_heads = 2,
                       .key_dim = 6,
                       .dtype = dtype,
                       .order = order})
              .cache.layers.at(0)
              .key;
}

TEST_CASE("elements of every dtype and order of axes as doubles") {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (const char* order : {"bphd", "bhpd", "bdhp"}) {
      const Tensor tensor = random_key(dtype, order);
      CHECK(doubles(tensor) == reference::elements(tensor));
    }
}

TEST_CASE("quantized elements as doubles") {
  using Scheme = Quantization::Scheme;
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (Scheme scheme : {Scheme::kInt8, Scheme::kNF4}) {
      const Tensor tensor = tests::quantized(random_key(dtype), scheme, 3);
      const auto numbers = doubles(tensor);
      CHECK(numbers == reference::elements(tensor));
      CHECK(std::ssize(numbers) == element_count(tensor));
    }
}

TEST_CASE("quantized elements that do not fit their shape are refused") {
  Tensor tensor =
      tests::quantized(random_key(DType::kF32), Quantization::Scheme::kInt8, 0);
  tensor.quantization.scale_count -= 1;
  CHECK_THROWS_AS(doubles(tensor), Error);
}

TEST_CASE("integers are no doubles") {
  const Tensor index = tests::int_tensor({{AxisKind::kBatch, "b", 1}}, {3});
  CHECK_THROWS_AS(doubles(index), Error);
}

}  // namespace
}  // namespace kvtape
