// A file opened for reading, once: whatever reads it reads this descriptor.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace kvtape {

/// The name of an input that is no file.
inline constexpr std::string_view kStandardInput = "-";

class InputFile {
 public:
  /// Throws Error unless `path` is a regular file that may be read and that no
  /// other program holds locked for writing.
  static std::shared_ptr<const InputFile> open(const std::string& path);

  /// Standard input: a file that stands at its start, or a stream.
  static std::shared_ptr<const InputFile> standard_input();

  /// A file that was opened by whoever started this process; null where the
  /// descriptor is no regular file.
  static std::shared_ptr<const InputFile> inherited(int descriptor);

  /// A file in memory of what a stream holds: `start`, which has been read from
  /// it, and the rest. Throws Error where that is more than half of the
  /// machine's memory.
  static std::shared_ptr<const InputFile> whole(const InputFile& stream,
                                                std::string_view start);

  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }  // as the user gave it
  int descriptor() const { return descriptor_; }
  std::int64_t size() const { return size_; }  // bytes, when it was opened

  /// Can it be read only once, from its start to its end? Then its size is 0.
  bool is_stream() const { return is_stream_; }

  /// Is this the file of that device and inode?
  bool is(dev_t device, ino_t inode) const {
    return device == device_ && inode == inode_;
  }

  /// Fills `out` with the bytes from `offset` on; false where the file has
  /// fewer or cannot be read.
  bool read(std::int64_t offset, std::span<std::byte> out) const;

  /// Fills some of `out`: of a stream with what comes next, of a file with the
  /// bytes from `offset` on. Returns how many, 0 at the end. Throws Error.
  std::size_t read_some(std::int64_t offset, std::span<std::byte> out) const;

 private:
  InputFile(std::string path, int descriptor);
  void check();
  void check_unchanged() const;
  friend void check_inputs_unchanged();

  std::string path_;
  int descriptor_;
  bool is_stream_ = false;
  std::int64_t size_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  timespec written_{};  // last, when it was opened
};

/// Throws the Error of a file that is not what it was when it was opened.
[[noreturn]] void refuse_changed(const std::string& path);

/// Throws Error where a file has changed between its opening and its closing,
/// or now: what was read of it may be neither the old nor the new one. What
/// changes later does not matter: to be called when a result is to be kept.
void check_inputs_unchanged();

}  // namespace kvtape
