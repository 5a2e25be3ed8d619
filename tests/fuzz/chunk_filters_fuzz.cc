// libFuzzer: chunks as they stand in a file. What a chunk is read as must not
// depend on what the memory held before, and encoding must be undone by
// decoding. The first bytes say the filters, the rest is the chunk.
#include <algorithm>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "io/filters.h"

namespace kvtape {
namespace {

constexpr std::size_t kHeadBytes = 6;

using Bytes = std::vector<std::byte>;

std::vector<StoredFilter> filters_of(unsigned number, unsigned element_bytes) {
  std::vector<StoredFilter> filters;
  for (; number != 0; number /= 4)
    if (number % 4 != 0)
      filters.push_back(
          {.kind = static_cast<StoredFilter::Kind>(number % 4 - 1),
           .bytes_per_element = element_bytes});
  return filters;
}

void check(bool holds) {
  if (!holds) std::abort();
}

// What is wrong, and the chunk where nothing is.
std::pair<std::string, Bytes> decoded(const std::vector<StoredFilter>& filters,
                                      unsigned skipped, Bytes stored,
                                      std::size_t bytes, std::byte before) {
  Bytes scratch(bytes, before);
  std::string wrong = decode_chunk(filters, skipped, bytes, stored, scratch);
  if (!wrong.empty()) stored.clear();
  return {std::move(wrong), std::move(stored)};
}

void check_round_trip(const Bytes& data, unsigned element_bytes, int level) {
  if (data.empty()) return;
  Bytes stored = data;
  Bytes scratch;
  const std::uint32_t skipped =
      encode_chunk(static_cast<int>(element_bytes), level, stored, scratch);
  using Kind = StoredFilter::Kind;
  const std::vector<StoredFilter> filters = {
      {.kind = Kind::kShuffle, .bytes_per_element = element_bytes},
      {.kind = Kind::kDeflate},
      {.kind = Kind::kFletcher32}};
  const auto [wrong, chunk] =
      decoded(filters, skipped, stored, data.size(), std::byte{0});
  check(wrong.empty() && chunk == data);
}

}  // namespace
}  // namespace kvtape

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  using namespace kvtape;
  if (size < kHeadBytes) return 0;
  const unsigned element_bytes = 1 + data[2] % 8;
  const auto filters = filters_of(data[0], element_bytes);
  const std::size_t chunk_bytes = 1 + data[3] + 256U * (data[4] % 16);
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(kHeadBytes);
  const Bytes stored(bytes.begin(), bytes.end());
  const auto one =
      decoded(filters, data[1], stored, chunk_bytes, std::byte{0x00});
  const auto other =
      decoded(filters, data[1], stored, chunk_bytes, std::byte{0xa5});
  check(one == other);
  check_round_trip(stored, element_bytes, 1 + data[5] % 9);
  return 0;
}
