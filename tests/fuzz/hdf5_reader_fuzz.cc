// libFuzzer: files of HDF5, as kvtape reads them: libhdf5 describes them (here,
// hdf5_in_process.cc), its messages are checked, and the elements are read by
// our own code. What is read must not depend on what the memory held.
//
// The limits that kvtape-hdf5 sets itself would hold for the fuzzer too; they
// are options of it instead, tests/fuzz/meson.build.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "core/checked.h"
#include "hdf5/handle.h"
#include "hdf5_checksums.h"
#include "io/digest.h"
#include "io/file_source.h"
#include "io/tape_reader.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

// Of a dataset: a small file may stand for a thousand times as many bytes, and
// the fuzzer would do nothing but inflate zeros.
constexpr std::int64_t kMostBytes = 1 << 20;

void check(bool holds) {
  if (!holds) std::abort();
}

// A file in memory, removed with its descriptor.
class MemoryFile {
 public:
  MemoryFile(const unsigned char* data, std::size_t size)
      : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
    if (descriptor_ < 0 ||
        write(descriptor_, data, size) != static_cast<ssize_t>(size))
      throw std::system_error(errno, std::generic_category());
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

// The elements; or why they cannot be had.
std::string outcome(const SlabSource& source,
                    const std::vector<std::int64_t>& sizes, std::int64_t bytes,
                    char before) {
  std::string elements(static_cast<std::size_t>(bytes), before);
  try {
    source.read(
        {.first = std::vector<std::int64_t>(sizes.size()), .count = sizes},
        std::as_writable_bytes(std::span(elements)));
  } catch (const Error& error) {
    return error.what();
  }
  return elements;
}

// All at once, and as one axis.
void read_elements(Sources& sources, std::size_t object,
                   const StoredDataset& d) {
  const std::int64_t count = checked_product(d.sizes).value();
  const std::int64_t bytes = count * bytes_per_element(d.dtype);
  if (bytes > kMostBytes) return;
  const std::string whole =
      outcome(*sources.source(object), d.sizes, bytes, '\x00');
  const std::string flat =
      outcome(*sources.flat_source(object), {count}, bytes, '\xa5');
  check(whole == flat);
}

void read(const std::string& path) {
  const auto input = InputFile::open(path);
  const auto file = Hdf5File::open(input);
  FileSources sources(input, file);
  const std::vector<StoredObject>& objects = file->objects();
  for (std::size_t object = 0; object < objects.size(); ++object)
    if (const auto& dataset = objects[object].dataset)
      read_elements(sources, object, *dataset);
  find_edited(objects);
  tape_of(objects, sources);
}

}  // namespace
}  // namespace kvtape

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  kvtape::start_hdf5();
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(unsigned char* data, std::size_t size,
                                        std::size_t room);

// Without right checksums, next to nothing of a new layout would be looked at.
extern "C" std::size_t LLVMFuzzerCustomMutator(unsigned char* data,
                                               std::size_t size,
                                               std::size_t room,
                                               unsigned seed) {
  size = LLVMFuzzerMutate(data, size, room);
  if (seed % 8 != 0) kvtape::repair_checksums({data, size});
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  const kvtape::MemoryFile file(data, size);
  try {
    kvtape::read(file.path());
  } catch (const kvtape::Error&) {
    // It is refused.
  }
  return 0;
}
