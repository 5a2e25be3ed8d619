// A file as libhdf5 would lay it out, with its elements still missing: whoever
// writes it is told where they belong.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "hdf5/layout_driver.h"
#include "io/stored_object.h"

namespace kvtape {

/// Each throws Error.
class Hdf5Layout {
 public:
  /// `level`: of deflate, for datasets in chunks.
  explicit Hdf5Layout(int level);

  /// Adds a group or a dataset without attributes, below one that is there.
  /// Returns the address of its elements, -1 where they have none yet.
  std::int64_t put(const StoredObject& object);

  /// Adds a chunk to the object that was put last, `skipped` its filters.
  /// Returns its address.
  std::int64_t put_chunk(const std::vector<std::int64_t>& origin,
                         std::int64_t bytes, std::uint32_t skipped);

  /// Adds an attribute to the object that was put last.
  void put_attribute(const std::string& name, const AttributeValue& value);

  /// Visits everything that is no element, by address. Returns the bytes of
  /// the file.
  std::int64_t finish(
      const std::function<void(haddr_t, std::span<const std::byte>)>& visit);

 private:
  Handle group(const std::string& path);
  Handle dataset(const std::string& path, const StoredDataset& d);
  void set_chunks(hid_t creation, const StoredDataset& d) const;

  int level_;
  LayoutState state_;
  DrivenFile file_;
  Handle last_;
  std::vector<std::byte> zeros_;  // in place of a chunk's bytes
};

}  // namespace kvtape
