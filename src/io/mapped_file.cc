#include "io/mapped_file.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <system_error>

#include "kvtape/error.h"

namespace kvtape {
namespace {

// Where a signal handler finds what is mapped; a file beyond these is not
// found, and its signal is nobody's. `path` is set last and cleared first.
struct Mapping {
  std::atomic<bool> taken = false;
  std::atomic<const std::byte*> begin = nullptr;
  std::atomic<const std::byte*> end = nullptr;
  std::atomic<const char*> path = nullptr;
};
constexpr std::size_t kMostMappings = 64;
std::array<Mapping, kMostMappings> mappings;

void remember(std::span<const std::byte> bytes, const char* path) {
  for (Mapping& mapping : mappings) {
    if (mapping.taken.exchange(true)) continue;
    mapping.begin = bytes.data();
    mapping.end = bytes.data() + bytes.size();
    mapping.path = path;
    return;
  }
}

void forget(std::span<const std::byte> bytes) {
  for (Mapping& mapping : mappings) {
    if (mapping.path == nullptr || mapping.begin != bytes.data()) continue;
    mapping.path = nullptr;
    mapping.taken = false;
    return;
  }
}

}  // namespace

MappedFile::MappedFile(std::shared_ptr<const InputFile> input)
    : input_(std::move(input)) {
  const auto size = static_cast<std::size_t>(input_->size());
  if (size == 0) return;
  void* at =
      mmap(nullptr, size, PROT_READ, MAP_SHARED, input_->descriptor(), 0);
  if (at == MAP_FAILED)
    throw Error({.file = input_->path(),
                 .text = "cannot be mapped: " +
                         std::generic_category().message(errno)});
  bytes_ = {static_cast<const std::byte*>(at), size};
  remember(bytes_, input_->path().c_str());
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  forget(bytes_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

const char* mapped_path(const void* address) noexcept {
  // The last page of a file may go on beyond its end.
  constexpr std::ptrdiff_t kPage = 4096;
  const std::less<> before;
  for (const Mapping& mapping : mappings) {
    const char* path = mapping.path;
    if (path != nullptr && !before(address, mapping.begin.load()) &&
        before(address, mapping.end.load() + kPage))
      return path;
  }
  return nullptr;
}

}  // namespace kvtape
