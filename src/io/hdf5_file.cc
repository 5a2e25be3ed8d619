#include "io/hdf5_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <set>
#include <string_view>

#include "core/box.h"
#include "io/filters.h"
#include "io/list_text.h"
#include "io/regions.h"
#include "io/stored_checks.h"
#include "io/superblock.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

// Places that are asked for at once.
constexpr std::int64_t kChunksOfPage = 256;
constexpr std::size_t kMostPages = 1024;  // that are kept: 6 MiB
constexpr std::size_t kSmallChunk = std::size_t{4} << 20;  // bytes

// Objects come as a walk finds them: every one below a group that came before.
class Places {
 public:
  void add(const StoredObject& object) {
    const std::string& path = object.path;
    const std::size_t slash = path.rfind('/');
    const bool is_root = path == "/" && groups_.empty();
    if (slash == path.npos ||
        !(is_root || (slash + 1 < path.size() &&
                      groups_.contains(
                          path.substr(0, std::max<std::size_t>(slash, 1))))) ||
        !paths_.insert(path).second)
      throw Error({.object = path,
                   .text = "kvtape-hdf5 tells of it at the wrong place: the "
                           "file is corrupt or hostile"});
    if (!object.dataset) groups_.insert(path);
  }

 private:
  std::set<std::string> paths_;
  std::set<std::string> groups_;
};

std::size_t bytes_of(std::span<const std::int64_t> sizes, DType dtype) {
  std::int64_t bytes = bytes_per_element(dtype);
  for (std::int64_t size : sizes) bytes *= size;
  return static_cast<std::size_t>(bytes);
}

// What filters may make of a chunk that they cannot shrink.
std::int64_t room(std::size_t chunk_bytes) {
  return static_cast<std::int64_t>(chunk_bytes + chunk_bytes / 8 + 1024);
}

// A chunk's number in C order by its index along each axis.
std::int64_t number_of(const StoredDataset& d,
                       std::span<const std::int64_t> index) {
  std::int64_t number = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis)
    number = number * ((d.sizes[axis] - 1) / d.chunk[axis] + 1) + index[axis];
  return number;
}

std::vector<std::int64_t> origin_of(const StoredDataset& d,
                                    std::span<const std::int64_t> index) {
  std::vector<std::int64_t> origin(index.begin(), index.end());
  for (std::size_t axis = 0; axis < origin.size(); ++axis)
    origin[axis] *= d.chunk[axis];
  return origin;
}

}  // namespace

std::shared_ptr<const Hdf5File> Hdf5File::open(
    std::shared_ptr<const InputFile> input) {
  const std::string path = input->path();
  try {
    check_superblock(*input);
    return std::make_shared<Hdf5File>(std::move(input));
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

Hdf5File::Hdf5File(std::shared_ptr<const InputFile> input)
    : input_(std::move(input)),
      process_(std::make_unique<Hdf5Process>(input_.get())) {
  describe();
  const bool is_chunked =
      std::any_of(objects_.begin(), objects_.end(), [](const StoredObject& o) {
        return o.dataset &&
               o.dataset->layout == StoredDataset::Layout::kChunked;
      });
  if (!is_chunked) process_.reset();
}

void Hdf5File::describe() {
  Places places;
  process_->send(Hdf5Request::kDescribe);
  for (;;) {
    const Message message = process_->receive();
    if (message.kind == static_cast<std::uint8_t>(Hdf5Reply::kDone)) break;
    WireReader in(message.payload);
    objects_.push_back(get_object(in));
    places.add(objects_.back());
    check_stored(objects_.back(), input_->size());
  }
  if (objects_.empty() || objects_.front().dataset)
    throw Error({.text = "damaged HDF5: it has no root group"});
}

void Hdf5File::fail(std::size_t object, std::string text) const {
  throw Error({.file = input_->path(),
               .object = objects_[object].path,
               .text = std::move(text),
               .hint = "the file is damaged; copy it again, or dump again"});
}

void Hdf5File::read(std::size_t object, const Box& box,
                    std::span<std::byte> out) const {
  if (out.empty()) return;
  const StoredDataset& d = *objects_[object].dataset;
  if (d.layout == StoredDataset::Layout::kChunked)
    return read_chunks(object, box, out.data());
  const int size = bytes_per_element(d.dtype);
  copy_box(d.compact.data(), d.sizes, size, box, out);
  if (d.big_endian) swap_bytes(out, size);
}

// What another thread makes meanwhile is left for the end, so that threads
// whose boxes share chunks divide them among themselves.
void Hdf5File::read_chunks(std::size_t object, const Box& box,
                           std::byte* out) const {
  const StoredDataset& d = *objects_[object].dataset;
  using Index = std::vector<std::int64_t>;
  const auto key_of = [&](std::span<const std::int64_t> index) {
    return ChunkKey{object, number_of(d, index)};
  };
  const auto take = [&](std::span<const std::int64_t> index,
                        const ChunkCache::Found& found) {
    const ChunkBytes bytes = found.mine ? make(object, index) : found.chunk;
    copy_overlap(bytes->data(), origin_of(d, index), d.chunk, box, out,
                 bytes_per_element(d.dtype));
  };
  const std::size_t chunk_bytes = bytes_of(d.chunk, d.dtype);
  std::vector<Index> others;  // that other threads make meanwhile
  std::exception_ptr wrong;
  for_each_chunk(box, d.chunk, [&](std::span<const std::int64_t> index) {
    if (wrong) return;
    const auto found = cache_.find(key_of(index), chunk_bytes);
    if (!found.mine && found.chunk == nullptr)
      return others.push_back(Index(index.begin(), index.end()));
    try {
      take(index, found);
    } catch (...) {
      wrong = std::current_exception();
    }
  });
  // These came before the one that is wrong, and may be wrong themselves.
  for (const Index& index : others)
    take(index, cache_.wait(key_of(index), chunk_bytes));
  if (wrong) std::rethrow_exception(wrong);
}

// Of a chunk that this thread has claimed.
ChunkBytes Hdf5File::make(std::size_t object,
                          std::span<const std::int64_t> index) const {
  const StoredDataset& d = *objects_[object].dataset;
  const std::int64_t number = number_of(d, index);
  try {
    const auto bytes = cache_.buffer(bytes_of(d.chunk, d.dtype));
    decode(object, index, place_of(object, number), *bytes);
    cache_.put({object, number}, bytes);
    return bytes;
  } catch (...) {
    cache_.give_up({object, number});
    throw;
  }
}

void Hdf5File::decode(std::size_t object, std::span<const std::int64_t> index,
                      const ChunkPlace& place,
                      std::vector<std::byte>& chunk) const {
  const StoredDataset& d = *objects_[object].dataset;
  const std::size_t bytes = bytes_of(d.chunk, d.dtype);
  const auto refuse = [&](const std::string& wrong) {
    fail(object, "chunk at " + list_text(origin_of(d, index)) + ": " + wrong);
  };
  if (place.bytes == 0) refuse("never written");
  if (place.bytes < 0) refuse("it cannot be found");
  if (d.filters.empty() ? place.bytes != static_cast<std::int64_t>(bytes)
                        : place.bytes > room(bytes))
    refuse(fmt::format("it has {} bytes, not {}", place.bytes, bytes));
  // Kept between chunks, but for large ones: they would add up over threads.
  thread_local std::vector<std::byte> small;
  std::vector<std::byte> large;
  std::vector<std::byte>& scratch = bytes <= kSmallChunk ? small : large;
  // The two change places at every filter: both have room for all of it.
  chunk.reserve(static_cast<std::size_t>(room(bytes)));
  scratch.reserve(static_cast<std::size_t>(room(bytes)));
  chunk.resize(static_cast<std::size_t>(place.bytes));
  if (!input_->read(place.address, chunk)) refuse("it cannot be read");
  const std::string wrong =
      decode_chunk(d.filters, place.skipped, bytes, chunk, scratch);
  if (!wrong.empty()) refuse(wrong);
  if (d.big_endian) swap_bytes(chunk, bytes_per_element(d.dtype));
}

ChunkPlace Hdf5File::place_of(std::size_t object, std::int64_t number) const {
  const std::lock_guard lock(mutex_);
  const ChunkKey key{object, number / kChunksOfPage};
  auto page = pages_.find(key);
  if (page == pages_.end()) {
    if (pages_.size() >= kMostPages) pages_.clear();
    page = pages_.emplace(key, find_page(object, key.second)).first;
  }
  const auto place = static_cast<std::size_t>(number % kChunksOfPage);
  return place < page->second.size() ? page->second[place] : ChunkPlace{};
}

Hdf5File::Page Hdf5File::find_page(std::size_t object,
                                   std::int64_t page) const {
  WireWriter request;
  request.number(static_cast<std::int64_t>(object));
  request.number(page * kChunksOfPage);
  request.number(kChunksOfPage);
  Page places;
  try {
    process_->send(Hdf5Request::kFindChunks, request);
    const auto payload = process_->receive(Hdf5Reply::kChunks);
    constexpr std::size_t kPlaceBytes = 3 * sizeof(std::int64_t);
    WireReader in(payload);
    places.resize(payload.size() / kPlaceBytes);
    for (ChunkPlace& place : places) place = get_chunk_place(in);
    in.end();
  } catch (const Error& error) {
    throw error.in_file(input_->path());
  }
  check_page(object, places);
  return places;
}

// Chunks that share bytes would let a small file stand for a large one.
void Hdf5File::check_page(std::size_t object, Page page) const {
  std::sort(page.begin(), page.end(),
            [](const ChunkPlace& a, const ChunkPlace& b) {
              return a.address < b.address;
            });
  std::int64_t end = 0;
  for (const ChunkPlace& place : page) {
    if (place.bytes <= 0) continue;
    if (place.bytes > input_->size() ||
        place.address > input_->size() - place.bytes)
      fail(object, "one of its chunks stands outside the file");
    if (place.address < end) fail(object, "two of its chunks share bytes");
    end = place.address + place.bytes;
  }
}

}  // namespace kvtape
