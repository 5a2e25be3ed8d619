#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "io/unnamed_file.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

// Names of the temporary files, where a signal handler finds them. The text is
// never freed while it is here.
constexpr std::size_t kMostTemporaries = 16;
std::array<std::atomic<const char*>, kMostTemporaries> temporaries{};

void remember(const std::string& name) {
  for (auto& place : temporaries) {
    const char* expected = nullptr;
    if (place.compare_exchange_strong(expected, name.c_str())) return;
  }
}

void forget(const std::string& name) {
  for (auto& place : temporaries) {
    const char* expected = name.c_str();
    if (place.compare_exchange_strong(expected, nullptr)) return;
  }
}

std::string message(int error) {
  if (error == ENOENT) return "no such folder";
  if (error == EACCES || error == EPERM) return "permission denied";
  return std::generic_category().message(error);
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A symbolic link's target, so that the link stays one.
std::string followed(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(
      realpath(path.c_str(), nullptr), &std::free);
  return real == nullptr ? path : std::string(real.get());
}

// To the system the bytes of a mapped input that was cut short are a bad
// address. Reading them raises SIGBUS, and its handler names the input.
void read_each_page(std::span<const std::byte> bytes) {
  constexpr std::size_t kPage = 4096;
  const volatile std::byte* const at = bytes.data();
  for (std::size_t i = 0; i < bytes.size(); i += kPage)
    static_cast<void>(at[i]);
  static_cast<void>(at[bytes.size() - 1]);
}

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  return "a device";
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path, bool force)
    : path_(path), target_(followed(path)) {
  check_target(force);
  create();
}

AtomicFile::AtomicFile()
    : path_("temporary file"), descriptor_(open_unnamed_file("HDF5")) {}

void AtomicFile::fail(const std::string& doing, int error) const {
  ErrorParts parts{.file = path_,
                   .text = fmt::format("cannot {}: {}", doing, message(error))};
  if (error == ENOSPC || error == EDQUOT)
    parts.hint = "nothing was written under this name; make room, try again";
  throw Error(std::move(parts));
}

void AtomicFile::check_target(bool force) {
  struct stat status {};
  if (stat(target_.c_str(), &status) != 0) {
    if (errno != ENOENT) fail("write", errno);
    return;
  }
  if (!S_ISREG(status.st_mode))
    throw Error(
        {.file = path_,
         .text = fmt::format("is {}, not a file", kind_of(status.st_mode)),
         .hint = "name a file"});
  if (!force)
    throw Error(
        {.file = path_, .text = "exists", .hint = "--force replaces it"});
  mode_ = static_cast<int>(status.st_mode & 07777);
}

void AtomicFile::create() {
  for (int attempt = 0;; ++attempt) {
    temporary_ = fmt::format("{}.{}.{}.tmp", target_, getpid(), attempt);
    remember(temporary_);
    descriptor_ =
        ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) break;
    const int error = errno;
    forget(temporary_);
    temporary_.clear();
    if (error != EEXIST) fail("write", error);
  }
  // Where the old mode cannot be kept, the one of a new file will do.
  if (mode_ >= 0) std::ignore = fchmod(descriptor_, static_cast<mode_t>(mode_));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (temporary_.empty()) return;
  unlink(temporary_.c_str());
  forget(temporary_);
}

void AtomicFile::write(std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done =
        pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      const int error = done == 0 ? EIO : errno;
      if (error == EFAULT) read_each_page(bytes);
      fail("write", error);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += done;
  }
}

void AtomicFile::resize(std::int64_t bytes) {
  if (ftruncate(descriptor_, bytes) != 0) fail("write", errno);
}

void AtomicFile::copy_to(
    const std::function<void(std::string_view)>& sink) const {
  std::vector<char> piece(std::size_t{1} << 20);
  for (std::int64_t offset = 0;;) {
    const ssize_t got = pread(descriptor_, piece.data(), piece.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", errno);
    if (got == 0) return;
    sink({piece.data(), static_cast<std::size_t>(got)});
    offset += got;
  }
}

void AtomicFile::commit() {
  if (fsync(descriptor_) != 0) fail("write", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("write", errno);
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail("rename", errno);
  forget(temporary_);
  temporary_.clear();
  // The name is there; that it outlives a crash is all that is left to do, and
  // file systems that cannot promise it are no reason to fail.
  const int folder =
      ::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  fsync(folder);
  ::close(folder);
}

void remove_temporary_files() noexcept {
  for (const auto& place : temporaries)
    if (const char* name = place.load()) unlink(name);
}

}  // namespace kvtape
