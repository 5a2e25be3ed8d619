// Pages are borrowed until written, shared until one copy writes, and never
// change what they were made of.
#include "ops/paged_rows.h"

#include <catch2/catch.hpp>
#include <optional>

#include "hidden_source.h"
#include "random_tape.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using tests::random_tape;

constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kDim = 3;

Tensor source(std::int64_t slots, const char* order = "bphd") {
  return *random_tape({.extent = slots,
                       .key_heads = kHeads,
                       .key_dim = kDim,
                       .dtype = DType::kF16,
                       .order = order})
              .cache.layers.at(0)
              .key;
}

std::vector<double> numbers(PagedRows& rows) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(
      rows.slots() * kHeads * kDim * bytes_per_element(rows.dtype())));
  rows.copy_to(bytes.data());
  std::vector<double> result;
  for (std::size_t at = 0; at < bytes.size();
       at += static_cast<std::size_t>(bytes_per_element(rows.dtype())))
    result.push_back(load_number(rows.dtype(), bytes.data() + at));
  return result;
}

// Row 1 of a tensor of two.
std::vector<double> second_row(const Tensor& tensor) {
  const auto all = doubles(tensor);
  return {all.begin() + std::ssize(all) / 2, all.end()};
}

struct NewRows {
  std::vector<float> values;
  SlabView view;
};
NewRows new_rows(std::int64_t count, float first) {
  NewRows rows;
  for (std::int64_t i = 0; i < count * kHeads * kDim; ++i)
    rows.values.push_back(first + static_cast<float>(i));
  rows.view =
      packed_slab(reinterpret_cast<const std::byte*>(rows.values.data()),
                  DType::kF32, {count, kHeads, kDim});
  return rows;
}

bool inside(const SlabView& view, const Tensor& tensor) {
  const auto bytes = tensor.source->bytes();
  return view.data >= bytes.data() && view.data < bytes.data() + bytes.size();
}

TEST_CASE("a page lies in the source until it is written") {
  for (const char* order : {"bphd", "bdhp"}) {
    const Tensor tensor = source(1100, order);
    PagedRows rows(tensor, 1);
    REQUIRE(rows.pages() == 3);
    for (std::int64_t page = 0; page < 3; ++page)
      CHECK(inside(rows.page(page), tensor));
    CHECK(rows.page(2).shape[0] == 1100 - 1024);
    auto expected = second_row(tensor);
    CHECK(numbers(rows) == expected);
    // Slots 1022 to 1025 lie in two pages.
    const NewRows fresh = new_rows(4, 100);
    rows.write(1022, fresh.view);
    CHECK(inside(rows.page(0), tensor));
    CHECK_FALSE(inside(rows.page(1), tensor));
    CHECK_FALSE(inside(rows.page(2), tensor));
    for (std::size_t i = 0; i < fresh.values.size(); ++i)
      expected[1022 * 6 + i] = static_cast<double>(fresh.values[i]);
    CHECK(numbers(rows) == expected);
    CHECK(rows.page(1).strides == std::array<std::int64_t, 3>{6, 3, 1});
    CHECK(second_row(tensor) == second_row(source(1100, order)));
  }
}

TEST_CASE("a copy shares pages until one of both writes") {
  const Tensor tensor = source(600);
  PagedRows rows(tensor, 1);
  rows.write(3, new_rows(1, 7).view);
  PagedRows copy = rows;
  const auto before = numbers(rows);
  CHECK(copy.page(0).data == rows.page(0).data);
  copy.write(4, new_rows(1, 9).view);
  CHECK(copy.page(0).data != rows.page(0).data);
  CHECK(numbers(rows) == before);
  auto expected = before;
  for (std::size_t i = 0; i < 6; ++i) expected[24 + i] = 9.0 + double(i);
  CHECK(numbers(copy) == expected);
}

TEST_CASE("growing slot by slot, with a wider dtype on the way") {
  const Tensor tensor = source(510);
  PagedRows rows(tensor, 1);
  auto expected = second_row(tensor);
  for (int slot = 0; slot < 600; ++slot) {
    if (slot == 1) rows.promote(DType::kF32);
    const NewRows fresh = new_rows(1, static_cast<float>(slot));
    rows.grow(1);
    rows.write(510 + slot, fresh.view);
    for (float value : fresh.values)
      expected.push_back(static_cast<double>(value));
  }
  CHECK(rows.slots() == 1110);
  CHECK(rows.pages() == 3);
  CHECK(rows.dtype() == DType::kF32);
  CHECK(numbers(rows) == expected);
}

TEST_CASE("shifting drops the oldest") {
  for (std::int64_t count : {1, 3, 511, 512, 700, 1100, 2000}) {
    const Tensor tensor = source(1100);
    PagedRows rows(tensor, 1);
    auto expected = second_row(tensor);
    const auto gone = std::min<std::int64_t>(count, 1100) * 6;
    expected.erase(expected.begin(), expected.begin() + gone);
    expected.resize(1100 * 6, 0.0);
    rows.shift(count);
    CHECK(numbers(rows) == expected);
  }
}

TEST_CASE("shifting and writing, again and again, and in a copy") {
  const Tensor tensor = source(700);
  PagedRows rows(tensor, 1);
  auto expected = second_row(tensor);
  for (int step = 0; step < 1500; ++step) {
    const std::int64_t count = 1 + step % 3;
    const NewRows fresh = new_rows(count, static_cast<float>(step % 100));
    // Now and then a copy goes another way and is thrown away.
    std::optional<PagedRows> copy;
    if (step % 100 == 0) {
      copy = rows;
      copy->shift(count);
      copy->write(0, fresh.view);
    }
    rows.shift(count);
    rows.write(700 - count, fresh.view);
    expected.erase(expected.begin(), expected.begin() + count * 6);
    for (float value : fresh.values)
      expected.push_back(static_cast<double>(value));
    if (step % 100 < 2) REQUIRE(numbers(rows) == expected);
  }
  CHECK(numbers(rows) == expected);
}

TEST_CASE("pages that can be read again are dropped and read again") {
  const Tensor tensor = tests::hidden(source(1100, "bdhp"));
  PagedRows rows(tensor, 1);
  CHECK(rows.clean_bytes() == 0);
  const auto expected = numbers(rows);
  CHECK(rows.clean_bytes() == 3 * 512 * 6 * 2);
  rows.write(0, new_rows(1, 5).view);
  CHECK(rows.clean_bytes() == 2 * 512 * 6 * 2);
  rows.drop_outside(2, 3);
  CHECK(rows.clean_bytes() == 512 * 6 * 2);
  auto again = numbers(rows);
  for (std::size_t i = 0; i < 6; ++i) CHECK(again[i] == 5.0 + double(i));
  CHECK(std::equal(again.begin() + 6, again.end(), expected.begin() + 6));
}

TEST_CASE("slots of its own are zero") {
  PagedRows rows(DType::kF32, 5, kHeads, kDim);
  CHECK(numbers(rows) == std::vector<double>(30, 0.0));
  rows.write(4, new_rows(1, 1).view);
  CHECK(numbers(rows)[24] == 1);
  PagedRows none(DType::kF32, 0, kHeads, kDim);
  CHECK(none.pages() == 0);
  CHECK(numbers(none).empty());
}

}  // namespace
}  // namespace kvtape
