// The one narrow door to libhdf5 for reading: plain descriptions out, plain
// bytes out. Nothing here tells that libhdf5 runs in this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/input_file.h"
#include "kvtape/dtype.h"
#include "kvtape/tape.h"

namespace kvtape {

using Attributes = std::vector<std::pair<std::string, AttributeValue>>;

/// One step of a chunk's way to the file.
struct StoredFilter {
  enum class Kind : std::uint8_t { kDeflate, kShuffle, kFletcher32 };
  Kind kind = Kind::kDeflate;
  std::size_t bytes_per_element = 0;  // of kShuffle
};

/// How a dataset lies in the file; every number is checked against it.
struct StoredDataset {
  enum class Layout : std::uint8_t { kContiguous, kChunked, kCompact };
  DType dtype = DType::kF32;  // a bf16 in any spelling but as uint16 is kBF16
  bool big_endian = false;
  std::vector<std::int64_t> sizes;
  Layout layout = Layout::kContiguous;
  std::int64_t offset = 0;  // in the file, of kContiguous
  std::int64_t stored_bytes = 0;
  std::vector<std::int64_t> chunk;    // elements along each axis, of kChunked
  std::vector<StoredFilter> filters;  // in the order they were applied
};

/// A group (no dataset) or a dataset.
struct StoredObject {
  std::string path;  // "/", "/layers/0/key"
  Attributes attributes;
  std::optional<StoredDataset> dataset;
};

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
