// Decoded chunks that were used last, within a bound of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace kvtape {

using ChunkBytes = std::shared_ptr<const std::vector<std::byte>>;
using ChunkKey = std::pair<std::size_t, std::int64_t>;  // object, chunk

/// May be used by several threads.
class ChunkCache {
 public:
  /// The chunk, or nothing.
  ChunkBytes find(ChunkKey key);

  /// Keeps a chunk and drops those that were not used for longest.
  void put(ChunkKey key, ChunkBytes chunk);

  /// A buffer of that size, of a chunk that was dropped where there is one:
  /// pages that were touched before cost no fault.
  std::shared_ptr<std::vector<std::byte>> buffer(std::size_t bytes);

 private:
  struct Entry {
    ChunkKey key;
    ChunkBytes chunk;
  };
  static constexpr std::size_t kMostBytes = std::size_t{32} << 20;

  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::map<ChunkKey, std::list<Entry>::iterator> places_;
  std::size_t bytes_ = 0;
  ChunkBytes dropped_;
};

}  // namespace kvtape
