#include "io/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#include "kvtape/error.h"

namespace kvtape {

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
}

MappedFile::~MappedFile() {
  if (!bytes_.empty())
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace kvtape
