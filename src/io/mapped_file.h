// A file in memory, read-only.
#pragma once

#include <memory>

#include "io/input_file.h"

namespace kvtape {

/// Maps the whole file; pages come as they are touched.
class MappedFile {
 public:
  /// Throws Error.
  explicit MappedFile(std::shared_ptr<const InputFile> input);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::shared_ptr<const InputFile> input_;
  std::span<const std::byte> bytes_;
};

/// The path of the mapped file that an address belongs to, null where there is
/// none. For handlers of signals: SIGBUS there means that the file was cut
/// short while it was read.
const char* mapped_path(const void* address) noexcept;

}  // namespace kvtape
