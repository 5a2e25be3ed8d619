// A cache file as the objects it consists of, whichever way it spells them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
  std::vector<std::byte> compact;     // the elements, of kCompact
};

/// A group (no dataset) or a dataset.
struct StoredObject {
  std::string path;  // "/", "/layers/0/key"
  Attributes attributes;
  std::optional<StoredDataset> dataset;
};

}  // namespace kvtape
