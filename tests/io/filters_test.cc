// The filters, against numbers written by h5py and against each other.
#include "io/filters.h"

#include <catch2/catch.hpp>

#include "io/regions.h"

namespace kvtape::test {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

TEST_CASE("shuffle gathers the bytes of each place, and back") {
  const auto in = bytes_of({1, 2, 3, 4, 5, 6, 7, 8, 9});
  std::vector<std::byte> out(in.size());
  shuffle(in, 4, out);
  CHECK(out == bytes_of({1, 5, 2, 6, 3, 7, 4, 8, 9}));
  std::vector<std::byte> back(in.size());
  unshuffle(out, 4, back);
  CHECK(back == in);
}

TEST_CASE("encoded chunks decode to themselves") {
  const std::vector<StoredFilter> filters{{StoredFilter::Kind::kShuffle, 4},
                                          {StoredFilter::Kind::kDeflate},
                                          {StoredFilter::Kind::kFletcher32}};
  for (const unsigned step : {0U, 1U, 2654435761U}) {
    std::vector<std::byte> chunk(4096);
    for (std::size_t i = 0; i < chunk.size(); ++i)
      chunk[i] = static_cast<std::byte>(i * i * step >> 11);
    auto stored = chunk;
    std::vector<std::byte> scratch;
    const auto skipped = encode_chunk(4, 1, stored, scratch);
    CHECK(
        decode_chunk(filters, skipped, chunk.size(), stored, scratch).empty());
    CHECK(stored == chunk);
  }
}

TEST_CASE("a row of elements is boxes") {
  const std::vector<std::int64_t> sizes{3, 4, 5};
  for (std::int64_t first = 0; first < 60; ++first)
    for (std::int64_t count = 0; first + count <= 60; ++count) {
      std::int64_t next = first;
      for_each_run(sizes, first, count, [&](const Box& box) {
        for (std::int64_t a = 0; a < box.count[0]; ++a)
          for (std::int64_t b = 0; b < box.count[1]; ++b)
            for (std::int64_t c = 0; c < box.count[2]; ++c)
              if (((box.first[0] + a) * 4 + box.first[1] + b) * 5 +
                      box.first[2] + c ==
                  next)
                ++next;
      });
      REQUIRE(next == first + count);
    }
}

}  // namespace
}  // namespace kvtape::test
