// Extents, strides, boxes and slabs against plain index arithmetic.
#include "kvtape/tensor.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "core/box.h"
#include "core/checked.h"
#include "core/slab.h"
#include "hidden_source.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Element i holds i, so that a value tells where it was read.
Tensor counting(std::vector<Axis> axes) {
  std::int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0.0F);
  return make_tensor(DType::kF32, std::move(axes), bytes_of(values));
}

float at(const SlabView& view, std::int64_t position, std::int64_t head,
         std::int64_t dim) {
  float value = 0;
  std::memcpy(&value,
              view.data + 4 * (position * view.strides[0] +
                               head * view.strides[1] + dim * view.strides[2]),
              4);
  return value;
}

TEST_CASE("extents multiply the axes of one kind") {
  const Tensor tensor = counting({{AxisKind::kBatch, "x", 2},
                                  {AxisKind::kDim, "projection", 3},
                                  {AxisKind::kBatch, "y", 5},
                                  {AxisKind::kPosition, "seq", 7}});
  CHECK(extent(tensor, AxisKind::kBatch) == 10);
  CHECK(extent(tensor, AxisKind::kHead) == 1);
  CHECK(!has_axis(tensor, AxisKind::kHead));
  CHECK(element_count(tensor) == 210);
  CHECK(shape_text(tensor) == "[2, 3, 5, 7]");
  CHECK(strides(tensor).position == 1);
  CHECK(strides(tensor).dim == 35);
  // Row 7 is x = 1, y = 2: axes of a batch flatten in C order.
  CHECK(row_offset(tensor, 7) == 1 * 105 + 2 * 7);
}

TEST_CASE("slabs give the same numbers in place and through a buffer") {
  const std::vector<std::vector<Axis>> orders = {
      {{AxisKind::kBatch, "batch", 3},
       {AxisKind::kPosition, "position", 5},
       {AxisKind::kHead, "head", 2},
       {AxisKind::kDim, "dim", 4}},
      {{AxisKind::kBatch, "a", 3},
       {AxisKind::kDim, "projection", 4},
       {AxisKind::kHead, "heads", 2},
       {AxisKind::kBatch, "b", 2},
       {AxisKind::kPosition, "seq", 5}},
      {{AxisKind::kLayer, "layer", 3},
       {AxisKind::kPosition, "seq", 5},
       {AxisKind::kBatch, "batch", 2},
       {AxisKind::kDim, "dim", 4}}};
  for (const auto& axes : orders) {
    Tensor tensor = counting(axes);
    if (has_axis(tensor, AxisKind::kLayer)) tensor.layer = 2;
    const Tensor behind = tests::hidden(tensor);
    SlabReader direct;
    SlabReader buffered;
    for (std::int64_t row = 0; row < extent(tensor, AxisKind::kBatch); ++row) {
      const SlabView a = direct.read(tensor, row, 1, 3);
      const SlabView b = buffered.read(behind, row, 1, 3);
      CHECK(a.shape == b.shape);
      for (std::int64_t position = 0; position < 3; ++position)
        for (std::int64_t head = 0; head < a.shape[1]; ++head)
          for (std::int64_t dim = 0; dim < 4; ++dim) {
            const Strides by = strides(tensor);
            const std::int64_t expected = row_offset(tensor, row) +
                                          (position + 1) * by.position +
                                          head * by.head + dim * by.dim;
            CHECK(at(a, position, head, dim) == float(expected));
            CHECK(at(b, position, head, dim) == float(expected));
          }
    }
    CHECK_THROWS_AS(direct.read(tensor, 0, 3, 3), Error);
    CHECK_THROWS_AS(direct.read(tensor, 99, 0, 1), Error);
    CHECK_THROWS_AS(direct.read(tensor, 0, -1, 1), Error);
  }
}

TEST_CASE("a box is what index arithmetic says, whatever is cut") {
  const std::vector<std::int64_t> sizes = {3, 4, 5};
  const Tensor tensor = counting({{AxisKind::kBatch, "", 3},
                                  {AxisKind::kPosition, "", 4},
                                  {AxisKind::kDim, "", 5}});
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    Box box;
    std::int64_t count = 1;
    for (const std::int64_t size : sizes) {
      const auto first = static_cast<std::int64_t>(random()) % size;
      box.first.push_back(first);
      box.count.push_back(1 +
                          static_cast<std::int64_t>(random()) % (size - first));
      count *= box.count.back();
    }
    std::vector<float> out(static_cast<std::size_t>(count));
    tensor.source->read(box, std::as_writable_bytes(std::span(out)));
    std::size_t i = 0;
    for (std::int64_t a = 0; a < box.count[0]; ++a)
      for (std::int64_t b = 0; b < box.count[1]; ++b)
        for (std::int64_t c = 0; c < box.count[2]; ++c)
          REQUIRE(out[i++] ==
                  float(((a + box.first[0]) * 4 + b + box.first[1]) * 5 + c +
                        box.first[2]));
  }
}

TEST_CASE("boxes outside, of other ranks or sizes are refused") {
  const std::vector<std::int64_t> sizes = {3, 4};
  const std::int64_t huge = std::int64_t{1} << 62;
  CHECK_NOTHROW(check_box({{1, 0}, {2, 4}}, sizes, 4, 32));
  CHECK_THROWS_AS(check_box({{1, 0}, {3, 4}}, sizes, 4, 48), Error);
  CHECK_THROWS_AS(check_box({{-1, 0}, {1, 4}}, sizes, 4, 16), Error);
  CHECK_THROWS_AS(check_box({{0}, {3}}, sizes, 4, 12), Error);
  CHECK_THROWS_AS(check_box({{0, 0}, {3, 4}}, sizes, 4, 47), Error);
  CHECK_THROWS_AS(check_box({{huge, 0}, {huge, 4}}, sizes, 4, 0), Error);
}

TEST_CASE("sizes that do not fit are refused, zero extents or not") {
  const std::int64_t big = std::int64_t{1} << 32;
  CHECK(checked_product(std::vector<std::int64_t>{3, 4, 5}) == 60);
  CHECK(checked_product(std::vector<std::int64_t>{}) == 1);
  CHECK(checked_product(std::vector<std::int64_t>{3, 0}) == 0);
  CHECK(!checked_product(std::vector<std::int64_t>{big, big}));
  CHECK(!checked_product(std::vector<std::int64_t>{0, big, big}));
  CHECK(!checked_product(std::vector<std::int64_t>{2, -1}));
  CHECK(!checked_mul(big, big));
  CHECK(!checked_add(INT64_MAX, 1));
  CHECK_THROWS_AS(make_tensor(DType::kF32, {{AxisKind::kDim, "", 4}},
                              std::vector<std::byte>(15)),
                  Error);
}

TEST_CASE("integers of every width and sign") {
  const auto read = [](DType dtype, auto value) {
    return integers(make_tensor(dtype, {{AxisKind::kBatch, "", 1}},
                                bytes_of(std::vector{value})))
        .at(0);
  };
  CHECK(read(DType::kI64, std::int64_t{-5}) == -5);
  CHECK(read(DType::kI32, std::int32_t{-5}) == -5);
  CHECK(read(DType::kI16, std::int16_t{-5}) == -5);
  CHECK(read(DType::kI8, std::int8_t{-5}) == -5);
  CHECK(read(DType::kU64, std::uint64_t{5}) == 5);
  CHECK(read(DType::kU32, std::uint32_t{0xffffffff}) == 0xffffffff);
  CHECK(read(DType::kU16, std::uint16_t{0xffff}) == 0xffff);
  CHECK(read(DType::kU8, std::uint8_t{0xff}) == 0xff);
  CHECK_THROWS_AS(read(DType::kU64, ~std::uint64_t{0}), Error);
  CHECK_THROWS_AS(read(DType::kF32, 1.0F), Error);
}

TEST_CASE("doubles come in the model's order") {
  const Tensor tensor =
      counting({{AxisKind::kDim, "d", 2}, {AxisKind::kPosition, "s", 3}});
  CHECK(doubles(tensor) == std::vector<double>{0, 3, 1, 4, 2, 5});
}

}  // namespace
}  // namespace kvtape
