#include "io/filters.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace kvtape {
namespace {

constexpr std::size_t kChecksumBytes = 4;
// It is the second filter that we apply.
constexpr std::uint32_t kDeflateBit = 1U << 1;

bool is_skipped(std::uint32_t skipped, std::size_t filter) {
  return (skipped >> filter & 1U) != 0;
}

// Bytes before filter `number` ran: a checksum applied earlier adds to them.
std::size_t bytes_before(const std::vector<StoredFilter>& filters,
                         std::uint32_t skipped, std::size_t number,
                         std::size_t chunk_bytes) {
  for (std::size_t i = 0; i < number; ++i)
    if (filters[i].kind == StoredFilter::Kind::kFletcher32 &&
        !is_skipped(skipped, i))
      chunk_bytes += kChecksumBytes;
  return chunk_bytes;
}

// Of zlib. Too little memory says nothing about the data.
bool succeeds(int result) {
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  return result == Z_OK;
}

// Inflates to exactly `bytes`; false for any other length or a damaged stream.
bool inflate_exactly(std::span<const std::byte> in, std::size_t bytes,
                     std::vector<std::byte>& out) {
  out.resize(bytes);
  uLongf got = bytes;
  uLong taken = in.size();
  return succeeds(uncompress2(reinterpret_cast<Bytef*>(out.data()), &got,
                              reinterpret_cast<const Bytef*>(in.data()),
                              &taken)) &&
         got == bytes;
}

std::uint32_t stored_checksum(std::span<const std::byte> at) {
  std::uint32_t value = 0;
  for (std::size_t i = kChecksumBytes; i-- > 0;)
    value = value << 8 | std::to_integer<std::uint32_t>(at[i]);
  return value;
}

// Old releases stored each half of the sum with its bytes swapped.
std::uint32_t old_checksum(std::uint32_t sum) {
  return (sum & 0x00ff00ffU) << 8 | (sum & 0xff00ff00U) >> 8;
}

bool strip_checksum(std::vector<std::byte>& data) {
  if (data.size() < kChecksumBytes) return false;
  const std::size_t bytes = data.size() - kChecksumBytes;
  const std::uint32_t stored = stored_checksum(std::span(data).subspan(bytes));
  data.resize(bytes);
  const std::uint32_t sum = fletcher32(data);
  return stored == sum || stored == old_checksum(sum);
}

std::string undo(const StoredFilter& filter, std::size_t bytes,
                 std::vector<std::byte>& data,
                 std::vector<std::byte>& scratch) {
  switch (filter.kind) {
    case StoredFilter::Kind::kFletcher32:
      return strip_checksum(data) ? "" : "its checksum does not agree";
    case StoredFilter::Kind::kDeflate:
      if (!inflate_exactly(data, bytes, scratch))
        return fmt::format("it does not inflate to {} bytes", bytes);
      break;
    case StoredFilter::Kind::kShuffle:
      scratch.resize(data.size());
      unshuffle(data, filter.bytes_per_element, scratch);
  }
  data.swap(scratch);
  return "";
}

// One sum folded to 16 bits; twice where a carry may be left.
std::uint32_t fold(std::uint32_t sum) { return (sum & 0xffff) + (sum >> 16); }

bool deflate_smaller(std::span<const std::byte> in, int level,
                     std::vector<std::byte>& out) {
  uLongf got = in.size();
  out.resize(got);
  if (!succeeds(compress2(reinterpret_cast<Bytef*>(out.data()), &got,
                          reinterpret_cast<const Bytef*>(in.data()), in.size(),
                          level)))
    return false;
  out.resize(got);
  return true;
}

// An element at a time: a size that the compiler knows becomes vectors.
template <std::size_t kSize>
void unshuffle_elements(const std::byte* in, std::size_t count,
                        std::byte* out) {
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t byte = 0; byte < kSize; ++byte)
      out[i * kSize + byte] = in[byte * count + i];
}

void add_checksum(std::vector<std::byte>& data) {
  std::uint32_t sum = fletcher32(data);
  for (std::size_t i = 0; i < kChecksumBytes; ++i, sum >>= 8)
    data.push_back(static_cast<std::byte>(sum & 0xff));
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> data) {
  constexpr std::size_t kWordsPerFold = 256;  // 360 would fill 32 bits
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  std::size_t at = 0;
  while (data.size() - at >= 2) {
    const std::size_t words = std::min(kWordsPerFold, (data.size() - at) / 2);
    // The sum of sums is one of products: words that need not wait for others.
    std::uint32_t sum = 0;
    std::uint32_t products = 0;
    for (std::size_t i = 0; i < words; ++i) {
      const std::uint32_t word =
          std::to_integer<std::uint32_t>(data[at + 2 * i]) << 8 |
          std::to_integer<std::uint32_t>(data[at + 2 * i + 1]);
      sum += word;
      products += static_cast<std::uint32_t>(words - i) * word;
    }
    at += 2 * words;
    high = fold(high + fold(static_cast<std::uint32_t>(words) * low) +
                fold(products));
    low = fold(low + sum);
  }
  if (at < data.size()) {
    low += std::to_integer<std::uint32_t>(data[at]) << 8;
    high += low;
    low = fold(low);
    high = fold(high);
  }
  return fold(high) << 16 | fold(low);
}

void shuffle(std::span<const std::byte> in, std::size_t bytes_per_element,
             std::span<std::byte> out) {
  const std::size_t count =
      bytes_per_element > 1 ? in.size() / bytes_per_element : 0;
  for (std::size_t byte = 0; byte < bytes_per_element && count > 0; ++byte)
    for (std::size_t i = 0; i < count; ++i)
      out[byte * count + i] = in[i * bytes_per_element + byte];
  const std::size_t done = count * bytes_per_element;
  std::copy(in.begin() + std::ptrdiff_t(done), in.end(),
            out.begin() + std::ptrdiff_t(done));
}

void unshuffle(std::span<const std::byte> in, std::size_t bytes_per_element,
               std::span<std::byte> out) {
  const std::size_t count =
      bytes_per_element > 1 ? in.size() / bytes_per_element : 0;
  if (bytes_per_element == 2)
    unshuffle_elements<2>(in.data(), count, out.data());
  else if (bytes_per_element == 4)
    unshuffle_elements<4>(in.data(), count, out.data());
  else
    for (std::size_t byte = 0; byte < bytes_per_element && count > 0; ++byte)
      for (std::size_t i = 0; i < count; ++i)
        out[i * bytes_per_element + byte] = in[byte * count + i];
  const std::size_t done = count * bytes_per_element;
  std::copy(in.begin() + std::ptrdiff_t(done), in.end(),
            out.begin() + std::ptrdiff_t(done));
}

void swap_bytes(std::span<std::byte> data, int bytes_per_element) {
  const auto size = static_cast<std::size_t>(bytes_per_element);
  if (size < 2) return;
  for (std::size_t at = 0; at + size <= data.size(); at += size)
    std::reverse(data.begin() + std::ptrdiff_t(at),
                 data.begin() + std::ptrdiff_t(at + size));
}

std::string decode_chunk(const std::vector<StoredFilter>& filters,
                         std::uint32_t skipped, std::size_t bytes,
                         std::vector<std::byte>& chunk,
                         std::vector<std::byte>& scratch) {
  for (std::size_t i = filters.size(); i-- > 0;) {
    if (is_skipped(skipped, i)) continue;
    const std::size_t before = bytes_before(filters, skipped, i, bytes);
    if (auto wrong = undo(filters[i], before, chunk, scratch); !wrong.empty())
      return wrong;
  }
  if (chunk.size() != bytes)
    return fmt::format("it has {} bytes, not {}", chunk.size(), bytes);
  return "";
}

std::uint32_t encode_chunk(int bytes_per_element, int level,
                           std::vector<std::byte>& chunk,
                           std::vector<std::byte>& scratch) {
  scratch.resize(chunk.size());
  shuffle(chunk, static_cast<std::size_t>(bytes_per_element), scratch);
  const bool smaller = deflate_smaller(scratch, level, chunk);
  if (!smaller) chunk = scratch;
  add_checksum(chunk);
  return smaller ? 0 : kDeflateBit;
}

}  // namespace kvtape
