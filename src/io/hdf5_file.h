// The one narrow door to libhdf5 for reading: plain descriptions out, plain
// bytes out. Nothing here tells that libhdf5 runs in this process.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "io/input_file.h"
#include "io/stored_object.h"

namespace kvtape {

class Hdf5File {
 public:
  /// Opens and describes a file. Throws Error when it is no whole HDF5 file, or
  /// holds what no cache file holds: links out of it, other types, ...
  static std::shared_ptr<const Hdf5File> open(
      std::shared_ptr<const InputFile> input);

  virtual ~Hdf5File() = default;

  /// Every object; groups before what they hold, names in natural order.
  virtual const std::vector<StoredObject>& objects() const = 0;

  /// A box of a chunked or compact dataset, packed, little-endian. May be
  /// called from several threads. Requires a checked box. Throws Error when
  /// bytes are missing or damaged.
  virtual void read(std::size_t object, const Box& box,
                    std::span<std::byte> out) const = 0;
};

}  // namespace kvtape
