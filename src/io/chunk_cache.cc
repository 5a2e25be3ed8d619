#include "io/chunk_cache.h"

namespace kvtape {

ChunkBytes ChunkCache::find(ChunkKey key) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(key);
  if (place == places_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, place->second);
  return place->second->chunk;
}

void ChunkCache::put(ChunkKey key, ChunkBytes chunk) {
  const std::lock_guard lock(mutex_);
  if (places_.contains(key)) return;
  bytes_ += chunk->size();
  entries_.push_front({key, std::move(chunk)});
  places_[key] = entries_.begin();
  while (bytes_ > kMostBytes && entries_.size() > 1) {
    bytes_ -= entries_.back().chunk->size();
    places_.erase(entries_.back().key);
    dropped_ = std::move(entries_.back().chunk);
    entries_.pop_back();
  }
}

std::shared_ptr<std::vector<std::byte>> ChunkCache::buffer(std::size_t bytes) {
  ChunkBytes dropped;
  {
    const std::lock_guard lock(mutex_);
    dropped = std::move(dropped_);
  }
  if (dropped == nullptr || dropped.use_count() != 1)
    return std::make_shared<std::vector<std::byte>>(bytes);
  // Made by this function, so not const; and no one else holds it.
  auto buffer = std::const_pointer_cast<std::vector<std::byte>>(dropped);
  buffer->resize(bytes);
  return buffer;
}

}  // namespace kvtape
