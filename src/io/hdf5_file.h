// A file of HDF5: what it holds as kvtape-hdf5 tells it, checked here; its
// chunks are found there, and read and decoded here.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "io/chunk_cache.h"
#include "io/hdf5_process.h"
#include "io/input_file.h"
#include "io/stored_object.h"
#include "kvtape/tensor.h"

namespace kvtape {

class Hdf5File {
 public:
  /// Opens and describes a file. Throws Error when it is no whole HDF5 file, or
  /// holds what no cache file holds: links out of it, other types, ...
  static std::shared_ptr<const Hdf5File> open(
      std::shared_ptr<const InputFile> input);

  explicit Hdf5File(std::shared_ptr<const InputFile> input);

  /// Every object; groups before what they hold, names in natural order.
  const std::vector<StoredObject>& objects() const { return objects_; }

  /// A box of a chunked or compact dataset, packed, little-endian. May be
  /// called from several threads: those whose boxes share chunks decode each
  /// once. Requires a checked box. Throws Error when bytes are missing or
  /// damaged: of the first chunk in C order, whatever the other threads do.
  void read(std::size_t object, const Box& box, std::span<std::byte> out) const;

 private:
  using Page = std::vector<ChunkPlace>;

  [[noreturn]] void fail(std::size_t object, std::string text) const;
  void describe();
  void read_chunks(std::size_t object, const Box& box, std::byte* out) const;
  ChunkBytes make(std::size_t object,
                  std::span<const std::int64_t> index) const;
  void decode(std::size_t object, std::span<const std::int64_t> index,
              const ChunkPlace& place, std::vector<std::byte>& chunk) const;
  ChunkPlace place_of(std::size_t object, std::int64_t number) const;
  Page find_page(std::size_t object, std::int64_t page) const;
  void check_page(std::size_t object, Page page) const;

  std::shared_ptr<const InputFile> input_;
  std::vector<StoredObject> objects_;
  mutable std::mutex mutex_;                      // for what follows
  mutable std::unique_ptr<Hdf5Process> process_;  // none: nothing is chunked
  mutable std::map<ChunkKey, Page> pages_;        // by object and page
  mutable ChunkCache cache_;
};

}  // namespace kvtape
