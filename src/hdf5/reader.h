// A file as libhdf5 understands it: what is in it, and where. No element is
// read here but those that stand among the descriptions (compact datasets).
#pragma once

#include <functional>
#include <vector>

#include "hdf5/handle.h"
#include "hdf5/read_driver.h"
#include "io/hdf5_messages.h"

namespace kvtape {

class Hdf5Reader {
 public:
  /// The file must outlive the reader. Throws Error.
  explicit Hdf5Reader(const InputFile& input);

  /// Visits every object: groups before what they hold, names in natural order.
  /// Throws Error at what no cache file holds: links out of it, other types.
  void describe(const std::function<void(const StoredObject&)>& visit);

  /// Places of `count` chunks of an object that was visited, from chunk `first`
  /// in C order; fewer at the end. Requires a chunked dataset.
  std::vector<ChunkPlace> find_chunks(std::size_t object, std::int64_t first,
                                      std::int64_t count);

 private:
  ChunkPlace find_chunk(hid_t dataset, const std::vector<hsize_t>& origin);

  DriverState state_;
  DrivenFile file_;
  std::vector<StoredObject> objects_;  // without attributes and elements
};

}  // namespace kvtape
