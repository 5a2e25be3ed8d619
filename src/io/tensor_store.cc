#include "io/tensor_store.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <new>
#include <string>
#include <system_error>

#include "io/unnamed_file.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kFew = std::size_t{1} << 20;  // bytes

// Growing would copy many elements again and again. Room that is not used is no
// memory, and large pages cost fewer faults where the system has them.
void make_room(std::vector<std::byte>& memory, std::size_t bytes) {
  constexpr std::uintptr_t kPage = 4096;
  try {
    memory.reserve(bytes);
  } catch (const std::bad_alloc&) {
    return;  // little may be enough
  }
  const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t skipped = (kPage - start % kPage) % kPage;
  madvise(memory.data() + skipped, bytes - skipped, MADV_HUGEPAGE);
}

[[noreturn]] void fail(const std::string& text) {
  throw Error({.text = text + ": " + std::generic_category().message(errno),
               .hint = "large tensors are kept in a temporary file; name a "
                       "folder with room: TMPDIR=FOLDER kvtape ..."});
}

}  // namespace

TensorStore::~TensorStore() {
  if (descriptor_ < 0) return;
  if (!bytes_.empty())
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(descriptor_);
}

void TensorStore::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("a temporary file cannot be written");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void TensorStore::append(std::span<const std::byte> bytes) {
  size_ += std::ssize(bytes);
  if (descriptor_ >= 0) return write(bytes);
  if (memory_.size() > kFew && memory_.capacity() < most_in_memory_)
    make_room(memory_, most_in_memory_ + kFew);
  memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  if (memory_.size() <= most_in_memory_) return;
  descriptor_ = open_unnamed_file("a large tensor");
  write(memory_);
  memory_ = {};
}

void TensorStore::align() {
  constexpr std::array<std::byte, 64> kZeros{};
  const auto over = static_cast<std::size_t>(size_) % kZeros.size();
  if (over != 0) append(std::span(kZeros).subspan(over));
}

void TensorStore::finish() {
  bytes_ = memory_;
  if (descriptor_ < 0) return;
  const auto size = static_cast<std::size_t>(size_);
  void* at = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (at == MAP_FAILED) fail("a temporary file cannot be mapped");
  bytes_ = {static_cast<const std::byte*>(at), size};
}

}  // namespace kvtape
