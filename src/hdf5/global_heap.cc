// Layout: the HDF5 file format specification, "Global Heap".
#include "hdf5/global_heap.h"

#include <array>
#include <vector>

namespace kvtape {
namespace {

constexpr std::size_t kHeaderBytes = 16;  // of the collection, and of an object
constexpr std::uint64_t kLargest = 64 << 20;  // bytes
// Bytes of an object; twice those of the longest text that an attribute may be.
constexpr std::uint64_t kLargestObject = 128 << 10;

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at,
                        std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;)
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
  return value;
}

// Bytes of the object that begins here, its header included; 0 where they are
// too many, or more than are left. Object 0 is the free space at the end.
std::uint64_t object_bytes(std::span<const std::byte> left) {
  const std::uint64_t index = number_at(left, 0, 2);
  const std::uint64_t bytes = number_at(left, 8, 8);
  if (bytes > left.size() || (index != 0 && bytes > kLargestObject)) return 0;
  const std::uint64_t all =
      index == 0 ? bytes : kHeaderBytes + (bytes + 7) / 8 * 8;
  return all >= kHeaderBytes && all <= left.size() ? all : 0;
}

}  // namespace

bool is_sound_heap(const InputFile& file, std::int64_t address) {
  std::array<std::byte, kHeaderBytes> head{};
  if (!file.read(address, head)) return false;
  const std::uint64_t size = number_at(head, 8, 8);
  if (size < kHeaderBytes || size > kLargest ||
      size > static_cast<std::uint64_t>(file.size() - address))
    return false;
  std::vector<std::byte> heap(size);
  if (!file.read(address, heap)) return false;
  auto left = std::span<const std::byte>(heap).subspan(kHeaderBytes);
  while (left.size() >= kHeaderBytes) {
    const std::uint64_t bytes = object_bytes(left);
    if (bytes == 0) return false;
    left = left.subspan(bytes);
  }
  return true;
}

}  // namespace kvtape
