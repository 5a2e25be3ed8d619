#include "io/input_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "kvtape/error.h"

namespace kvtape {
namespace {

[[noreturn]] void refuse(const std::string& path, std::string text,
                         std::string hint = "") {
  throw Error({.file = path, .text = std::move(text), .hint = std::move(hint)});
}

std::string reason(int error) {
  if (error == ENOENT) return "no such file";
  if (error == EACCES || error == EPERM) return "permission denied";
  return std::generic_category().message(error);
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

std::shared_ptr<const InputFile> InputFile::open(const std::string& path) {
  // Without O_NONBLOCK, a FIFO that nobody writes to would hang here.
  const int descriptor =
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) refuse(path, reason(errno));
  std::shared_ptr<InputFile> file(new InputFile(path, descriptor));
  file->check();
  return file;
}

void InputFile::check() {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0) refuse(path_, reason(errno));
  if (!S_ISREG(status.st_mode))
    refuse(path_, "is " + kind_of(status.st_mode) + ", not a file",
           "name a cache file; write a stream to a file first");
  // Writers of HDF5 hold an exclusive lock. File systems without locks answer
  // otherwise, and are read.
  if (flock(descriptor_, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    refuse(path_, "another program is writing this file",
           "wait until it has closed the file, or copy the file");
  size_ = status.st_size;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

InputFile::~InputFile() { ::close(descriptor_); }

bool InputFile::read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = pread(descriptor_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return true;
}

}  // namespace kvtape
