// Decoded chunks that were used last, within a bound of bytes.
#pragma once

#include <condition_variable>
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

/// May be used by several threads: each chunk is made by one of them, while the
/// others make other chunks.
class ChunkCache {
 public:
  struct Found {
    ChunkBytes chunk;   // null: it is not here
    bool mine = false;  // to be made, by the caller: put() or give_up()
  };

  /// Neither chunk nor claim where another thread makes it, or where so much is
  /// being made that a chunk of `bytes` must wait.
  Found find(ChunkKey key, std::size_t bytes);

  /// The same, but waits for the chunk or the claim.
  Found wait(ChunkKey key, std::size_t bytes);

  /// Keeps a chunk that was claimed, and drops those that were not used for
  /// longest.
  void put(ChunkKey key, ChunkBytes chunk);

  /// Whoever waits for it is to make it.
  void give_up(ChunkKey key);

  /// For a chunk of `bytes`: that of one of its kind that was dropped where
  /// there is one, as pages that were touched before cost no fault.
  std::shared_ptr<std::vector<std::byte>> buffer(std::size_t bytes);

 private:
  struct Entry {
    ChunkKey key;
    ChunkBytes chunk;
  };
  static constexpr std::size_t kMostBytes = std::size_t{32} << 20;

  Found look(ChunkKey key, std::size_t bytes);
  void end_claim(ChunkKey key);

  std::mutex mutex_;
  std::condition_variable made_;
  std::list<Entry> entries_;  // most recently used first
  std::map<ChunkKey, std::list<Entry>::iterator> places_;
  std::size_t bytes_ = 0;
  std::map<ChunkKey, std::size_t> claims_;  // bytes, of what is being made
  std::size_t claimed_bytes_ = 0;
  ChunkBytes dropped_;
};

}  // namespace kvtape
