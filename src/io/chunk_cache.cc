#include "io/chunk_cache.h"

namespace kvtape {

// Requires the mutex.
ChunkCache::Found ChunkCache::look(ChunkKey key, std::size_t bytes) {
  if (const auto place = places_.find(key); place != places_.end()) {
    entries_.splice(entries_.begin(), entries_, place->second);
    return {.chunk = place->second->chunk};
  }
  // One chunk may be larger than all that is kept.
  const bool has_room = claims_.empty() || claimed_bytes_ + bytes <= kMostBytes;
  if (!has_room || !claims_.emplace(key, bytes).second) return {};
  claimed_bytes_ += bytes;
  return {.mine = true};
}

ChunkCache::Found ChunkCache::find(ChunkKey key, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  return look(key, bytes);
}

ChunkCache::Found ChunkCache::wait(ChunkKey key, std::size_t bytes) {
  std::unique_lock lock(mutex_);
  for (;;) {
    Found found = look(key, bytes);
    if (found.mine || found.chunk != nullptr) return found;
    made_.wait(lock);
  }
}

// Requires the mutex.
void ChunkCache::end_claim(ChunkKey key) {
  const auto claim = claims_.find(key);
  claimed_bytes_ -= claim->second;
  claims_.erase(claim);
  made_.notify_all();
}

void ChunkCache::put(ChunkKey key, ChunkBytes chunk) {
  const std::lock_guard lock(mutex_);
  entries_.push_front({key, std::move(chunk)});
  bytes_ += entries_.front().chunk->size();
  places_[key] = entries_.begin();
  end_claim(key);
  while (bytes_ > kMostBytes && entries_.size() > 1) {
    bytes_ -= entries_.back().chunk->size();
    places_.erase(entries_.back().key);
    dropped_ = std::move(entries_.back().chunk);
    entries_.pop_back();
  }
}

void ChunkCache::give_up(ChunkKey key) {
  const std::lock_guard lock(mutex_);
  end_claim(key);
}

std::shared_ptr<std::vector<std::byte>> ChunkCache::buffer(std::size_t bytes) {
  ChunkBytes dropped;
  {
    const std::lock_guard lock(mutex_);
    dropped = std::move(dropped_);
  }
  // A large one would be kept for a small chunk, and counted as that.
  if (dropped == nullptr || dropped.use_count() != 1 ||
      dropped->capacity() / 2 > bytes)
    return std::make_shared<std::vector<std::byte>>();
  // Let go by another thread, maybe: use_count() alone does not order what that
  // one read before what will be written here, a count that falls does.
  ChunkBytes(dropped).reset();
  // Made by this function, so not const; and no one else holds it.
  return std::const_pointer_cast<std::vector<std::byte>>(dropped);
}

}  // namespace kvtape
