// Layouts: the HDF5 file format specification, version 3.0.
#include "hdf5_checksums.h"

#include <array>
#include <cstdint>
#include <string_view>

// libhdf5's own, which stands in none of its public headers.
extern "C" std::uint32_t H5_checksum_metadata(const void* data,
                                              std::size_t bytes,
                                              std::uint32_t start);

namespace kvtape {
namespace {

using Bytes = std::span<unsigned char>;

constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kUnknown = 0;

std::uint64_t number_at(Bytes file, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  if (bytes > file.size() || at > file.size() - bytes) return value;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8 | file[at + i];
  return value;
}

// Where a block ends, its checksum left out. `start`: where it begins.
using Length = std::size_t (*)(Bytes file, std::size_t start);

std::size_t superblock_bytes(Bytes file, std::size_t start) {
  const bool has_checksum = number_at(file, start + 8, 1) >= 2;  // its version
  return has_checksum ? 44 : kUnknown;
}

std::size_t header_bytes(Bytes file, std::size_t start) {
  const std::uint64_t flags = number_at(file, start + 5, 1);
  const std::size_t size_bytes = std::size_t{1} << (flags & 3);
  std::size_t before = 6;
  if ((flags & 0x20) != 0) before += 16;  // times
  if ((flags & 0x10) != 0) before += 4;   // when attributes become dense
  return before + size_bytes + number_at(file, start + before, size_bytes);
}

std::string_view text_of(Bytes file) {
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

// Whoever continues here says how long: an address and a length.
std::size_t continuation_bytes(Bytes file, std::size_t start) {
  const std::uint64_t address = start;
  const std::string_view pointer(reinterpret_cast<const char*>(&address),
                                 sizeof address);
  const std::size_t at = text_of(file).find(pointer);
  if (at == std::string_view::npos) return kUnknown;
  const std::uint64_t bytes = number_at(file, at + sizeof address, 8);
  return bytes > kChecksumBytes ? bytes - kChecksumBytes : kUnknown;
}

constexpr std::string_view kFixedArray = "FAHD";

// Its elements are as many, and as long, as the header that names it says.
std::size_t fixed_array_bytes(Bytes file, std::size_t start) {
  const std::string_view text = text_of(file);
  for (std::size_t at = text.find(kFixedArray); at != text.npos;
       at = text.find(kFixedArray, at + 1))
    if (number_at(file, at + 16, 8) == start)
      return 14 + number_at(file, at + 6, 1) * number_at(file, at + 8, 8);
  return kUnknown;
}

template <std::size_t kBytes>
std::size_t fixed(Bytes, std::size_t) {
  return kBytes;
}

struct Block {
  std::string_view signature;
  Length length;
};
constexpr auto kBlocks = std::to_array<Block>({
    {"\x89HDF\r\n\x1a\n", superblock_bytes},
    {"OHDR", header_bytes},
    {"OCHK", continuation_bytes},
    {"BTHD", fixed<34>},
    {"FRHP", fixed<142>},
    {"EAHD", fixed<68>},
    {kFixedArray, fixed<24>},
    {"FADB", fixed_array_bytes},
});

void repair(Bytes file, std::size_t start, std::size_t bytes) {
  const std::size_t left = file.size() - start;
  if (bytes == kUnknown || left < kChecksumBytes ||
      bytes > left - kChecksumBytes)
    return;
  std::uint32_t sum = H5_checksum_metadata(file.data() + start, bytes, 0);
  for (std::size_t i = 0; i < kChecksumBytes; ++i, sum >>= 8)
    file[start + bytes + i] = static_cast<unsigned char>(sum);
}

}  // namespace

void repair_checksums(Bytes file) {
  const std::string_view text = text_of(file);
  for (const Block& block : kBlocks)
    for (std::size_t at = text.find(block.signature); at != text.npos;
         at = text.find(block.signature, at + 1))
      repair(file, at, block.length(file, at));
}

}  // namespace kvtape
