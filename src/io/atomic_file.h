// A file that appears whole under its name, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace kvtape {

/// Written under a temporary name in the same folder, and renamed by commit().
/// Removed when it is destroyed before that.
class AtomicFile {
 public:
  /// Throws Error when `path` exists (without `force`), is no regular file, or
  /// cannot be created.
  AtomicFile(const std::string& path, bool force);

  /// A file that never gets a name: for what cannot be streamed, before it is.
  AtomicFile();

  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& path() const { return path_; }  // as the user gave it

  /// Each throws Error, as on a full disk.
  void write(std::int64_t offset, std::span<const std::byte> bytes);
  void resize(std::int64_t bytes);
  void commit();  // bytes to the disk, then the name

  /// Gives `sink` all of it, in order.
  void copy_to(const std::function<void(std::string_view)>& sink) const;

 private:
  void check_target(bool force);
  void create();
  [[noreturn]] void fail(const std::string& doing, int error) const;

  std::string path_;
  std::string target_;     // path_ with symbolic links followed
  std::string temporary_;  // empty once it is renamed
  int descriptor_ = -1;
  int mode_ = -1;  // of the file that is replaced
};

/// Removes the temporary files of this process. For handlers of signals: calls
/// nothing but unlink().
void remove_temporary_files() noexcept;

}  // namespace kvtape
