#include "io/input_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <set>
#include <system_error>
#include <vector>

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

// What is open, and which file had changed by the time it was closed.
struct Inputs {
  std::mutex mutex;
  std::set<const InputFile*> open;
  std::string changed;
};
Inputs& inputs() {
  static Inputs inputs;
  return inputs;
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

void refuse_changed(const std::string& path) {
  refuse(path, "changed while being read",
         "wait until its writer has closed it, or copy it first");
}

InputFile::InputFile(std::string path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {
  const std::lock_guard lock(inputs().mutex);
  inputs().open.insert(this);
}

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
  written_ = status.st_mtim;
}

void InputFile::check_unchanged() const {
  struct stat status {};
  if (is_stream_ || inode_ == 0 || fstat(descriptor_, &status) != 0) return;
  if (status.st_size != size_ || status.st_mtim.tv_sec != written_.tv_sec ||
      status.st_mtim.tv_nsec != written_.tv_nsec)
    refuse_changed(path_);
}

void check_inputs_unchanged() {
  const std::lock_guard lock(inputs().mutex);
  if (!inputs().changed.empty()) refuse_changed(inputs().changed);
  for (const InputFile* file : inputs().open) file->check_unchanged();
  inputs().open.clear();
}

InputFile::~InputFile() {
  {
    const std::lock_guard lock(inputs().mutex);
    if (inputs().open.erase(this) != 0) try {
        check_unchanged();
      } catch (const Error&) {
        inputs().changed = path_;
      }
  }
  ::close(descriptor_);
}

std::shared_ptr<const InputFile> InputFile::standard_input() {
  const std::string name(kStandardInput);
  const int descriptor =
      fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (descriptor < 0) refuse(name, reason(errno));
  std::shared_ptr<InputFile> file(new InputFile(name, descriptor));
  struct stat status {};
  if (fstat(descriptor, &status) != 0) refuse(name, reason(errno));
  if (S_ISDIR(status.st_mode)) refuse(name, "is a directory, not a file");
  if (S_ISREG(status.st_mode) && lseek(descriptor, 0, SEEK_CUR) == 0)
    file->check();
  else
    file->is_stream_ = true;
  return file;
}

std::shared_ptr<const InputFile> InputFile::inherited(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  std::shared_ptr<InputFile> file(new InputFile("", descriptor));
  file->size_ = status.st_size;
  return file;
}

namespace {

void write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) refuse(std::string(kStandardInput), reason(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

std::int64_t half_of_memory() {
  return sysconf(_SC_PHYS_PAGES) * (sysconf(_SC_PAGESIZE) / 2);
}

}  // namespace

std::shared_ptr<const InputFile> InputFile::whole(const InputFile& stream,
                                                  std::string_view start) {
  constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
  const int descriptor = memfd_create("kvtape", MFD_CLOEXEC);
  if (descriptor < 0) refuse(stream.path_, reason(errno));
  std::shared_ptr<InputFile> file(new InputFile(stream.path_, descriptor));
  write_all(descriptor, std::as_bytes(std::span(start)));
  std::vector<std::byte> block(kBlockBytes);
  std::int64_t size = std::ssize(start);
  while (const std::size_t got = stream.read_some(0, block)) {
    write_all(descriptor, std::span(block).first(got));
    size += static_cast<std::int64_t>(got);
    if (size > half_of_memory())
      refuse(stream.path_,
             "HDF5 from a stream is kept in memory, and this is "
             "more than half of it",
             "write it to a file first");
  }
  file->check();
  return file;
}

std::size_t InputFile::read_some(std::int64_t offset,
                                 std::span<std::byte> out) const {
  for (;;) {
    const ssize_t got =
        is_stream_ ? ::read(descriptor_, out.data(), out.size())
                   : pread(descriptor_, out.data(), out.size(), offset);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) refuse(path_, "cannot be read: " + reason(errno));
  }
}

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
