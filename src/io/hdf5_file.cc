#include "io/hdf5_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/box.h"
#include "core/natural.h"
#include "io/chunk_cache.h"
#include "io/filters.h"
#include "io/hdf5_attributes.h"
#include "io/hdf5_datasets.h"
#include "io/hdf5_driver.h"
#include "io/hdf5_handle.h"
#include "io/list_text.h"
#include "io/regions.h"
#include "io/superblock.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr int kDeepest = 16;                            // groups in groups
constexpr std::size_t kMostObjects = 100'000;           // of a file
constexpr std::int64_t kMostAttributeBytes = 64 << 20;  // of a file

struct Link {
  std::string name;
  H5L_type_t type;
};

herr_t add_link(hid_t, const char* name, const H5L_info_t* info, void* data) {
  auto& links = *static_cast<std::vector<Link>*>(data);
  links.push_back({name, info->type});
  return links.size() > kMostObjects ? -1 : 0;
}

std::string_view link_text(H5L_type_t type) {
  if (type == H5L_TYPE_SOFT) return "a soft link";
  if (type == H5L_TYPE_EXTERNAL) return "a link to another file";
  return "a link of its own kind";
}

// Describes everything under the root group.
class Walk {
 public:
  Walk(hid_t file, std::int64_t file_bytes)
      : file_(file), file_bytes_(file_bytes) {}

  std::vector<StoredObject> run() {
    visit(file_, "/", "/", 0);
    return std::move(objects_);
  }

 private:
  void visit(hid_t parent, const std::string& name, const std::string& path,
             int depth) {
    const Handle object(H5Oopen(parent, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object) fail(path);
    if (objects_.size() >= kMostObjects)
      throw Error({.object = path,
                   .field = "objects",
                   .expected = fmt::format("at most {}", kMostObjects),
                   .found = "more"});
    switch (H5Iget_type(object.get())) {
      case H5I_GROUP:
        return group(object.get(), path, depth);
      case H5I_DATASET:
        objects_.push_back({path, attributes(object.get(), path),
                            describe_dataset(object.get(), path, file_bytes_)});
        return;
      default:
        throw Error({.object = path,
                     .expected = "a group or a dataset",
                     .found = "a named type"});
    }
  }

  void group(hid_t group, const std::string& path, int depth) {
    check_new(group, path, depth);
    objects_.push_back({path, attributes(group, path), {}});
    for (const Link& link : links(group, path)) {
      const std::string below = (path == "/" ? "" : path) + "/" + link.name;
      if (link.name.empty() || link.name == "." ||
          link.name.find('/') != link.name.npos)
        throw Error({.object = below,
                     .expected = "a name without slashes",
                     .found = "'" + link.name + "'"});
      if (link.type != H5L_TYPE_HARD)
        throw Error({.object = below,
                     .expected = "a group or a dataset of this file",
                     .found = std::string(link_text(link.type)),
                     .hint = "copy what it stands for into the file"});
      visit(group, link.name, below, depth + 1);
    }
  }

  // A group that holds itself would be walked for ever.
  void check_new(hid_t group, const std::string& path, int depth) {
    H5O_info_t info{};
    if (H5Oget_info2(group, &info, H5O_INFO_BASIC) < 0) fail(path);
    if (!groups_.insert(info.addr).second)
      throw Error({.object = path,
                   .expected = "a group of its own",
                   .found = "one that stands elsewhere too"});
    if (depth > kDeepest)
      throw Error({.object = path,
                   .field = "depth",
                   .expected = fmt::format("at most {}", kDeepest),
                   .found = "more"});
  }

  std::vector<Link> links(hid_t group, const std::string& path) {
    std::vector<Link> links;
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add_link,
                   &links) < 0)
      fail(path);
    std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) {
      return natural_less(a.name, b.name);
    });
    return links;
  }

  Attributes attributes(hid_t object, const std::string& path) {
    return read_attributes(object, path, attribute_bytes_left_);
  }

  [[noreturn]] static void fail(const std::string& path) {
    throw Error({.object = path, .text = "damaged: " + hdf5_reason()});
  }

  hid_t file_;
  std::int64_t file_bytes_;
  std::int64_t attribute_bytes_left_ = kMostAttributeBytes;
  std::set<haddr_t> groups_;
  std::vector<StoredObject> objects_;
};

std::size_t bytes_of(std::span<const std::int64_t> sizes, DType dtype) {
  std::int64_t bytes = bytes_per_element(dtype);
  for (std::int64_t size : sizes) bytes *= size;
  return static_cast<std::size_t>(bytes);
}

class LibraryFile final : public Hdf5File {
 public:
  explicit LibraryFile(std::shared_ptr<const InputFile> input)
      : input_(std::move(input)) {
    state_.file = input_.get();
    const Hdf5Session session;
    try {
      file_ = open_guarded(state_);
      objects_ = Walk(file_.file.get(), input_->size()).run();
    } catch (...) {
      file_.close();  // while the session lasts
      throw;
    }
  }

  ~LibraryFile() override {
    const Hdf5Session session;
    datasets_.clear();
    file_.close();
  }

  const std::vector<StoredObject>& objects() const override { return objects_; }

  void read(std::size_t object, const Box& box,
            std::span<std::byte> out) const override {
    if (out.empty()) return;
    const StoredDataset& d = *objects_[object].dataset;
    if (d.layout == StoredDataset::Layout::kCompact)
      return read_compact(object, box, out);
    for_each_chunk(box, d.chunk, [&](std::span<const std::int64_t> number) {
      const ChunkBytes bytes = chunk(object, number);
      std::vector<std::int64_t> origin(number.begin(), number.end());
      for (std::size_t axis = 0; axis < origin.size(); ++axis)
        origin[axis] *= d.chunk[axis];
      copy_overlap(bytes->data(), origin, d.chunk, box, out.data(),
                   bytes_per_element(d.dtype));
    });
  }

 private:
  [[noreturn]] void fail(std::size_t object, std::string text) const {
    throw Error({.file = input_->path(),
                 .object = objects_[object].path,
                 .text = std::move(text),
                 .hint = "the file is damaged; copy it again, or dump again"});
  }

  // Handles cost memory: a few are kept. Requires an Hdf5Session.
  hid_t dataset(std::size_t object) const {
    constexpr std::size_t kMostOpen = 64;
    if (const auto open = datasets_.find(object); open != datasets_.end())
      return open->second.get();
    if (datasets_.size() >= kMostOpen) datasets_.clear();
    Handle handle(
        H5Dopen2(file_.file.get(), objects_[object].path.c_str(), H5P_DEFAULT),
        H5Dclose);
    if (!handle) fail(object, "cannot be read: " + hdf5_reason());
    return datasets_.emplace(object, std::move(handle)).first->second.get();
  }

  void read_compact(std::size_t object, const Box& box,
                    std::span<std::byte> out) const {
    const StoredDataset& d = *objects_[object].dataset;
    std::vector<std::byte> all(static_cast<std::size_t>(d.stored_bytes));
    {
      const Hdf5Session session;
      const hid_t id = dataset(object);
      // The type in memory is the one in the file: libhdf5 converts nothing.
      const Handle type(H5Dget_type(id), H5Tclose);
      if (H5Tget_size(type.get()) !=
              static_cast<std::size_t>(bytes_per_element(d.dtype)) ||
          H5Dread(id, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()) <
              0)
        fail(object, "cannot be read: " + hdf5_reason());
    }
    if (d.big_endian) swap_bytes(all, bytes_per_element(d.dtype));
    copy_box(all.data(), d.sizes, bytes_per_element(d.dtype), box, out);
  }

  ChunkBytes chunk(std::size_t object,
                   std::span<const std::int64_t> number) const {
    const StoredDataset& d = *objects_[object].dataset;
    std::vector<hsize_t> origin;
    std::int64_t flat = 0;
    for (std::size_t axis = 0; axis < number.size(); ++axis) {
      origin.push_back(static_cast<hsize_t>(number[axis] * d.chunk[axis]));
      flat = flat * (d.sizes[axis] / d.chunk[axis] + 1) + number[axis];
    }
    const ChunkKey key{object, flat};
    if (ChunkBytes found = cache_.find(key)) return found;
    const auto bytes = cache_.buffer(bytes_of(d.chunk, d.dtype));
    decode(object, origin, *bytes);
    cache_.put(key, bytes);
    return bytes;
  }

  void decode(std::size_t object, const std::vector<hsize_t>& origin,
              std::span<std::byte> out) const {
    const StoredDataset& d = *objects_[object].dataset;
    thread_local std::vector<std::byte> stored;
    thread_local std::vector<std::byte> scratch;
    const std::uint32_t skipped =
        read_stored(object, origin, out.size(), stored);
    const std::string wrong =
        decode_chunk(d.filters, skipped, stored, scratch, out);
    if (!wrong.empty())
      fail(object, "chunk at " + list_text(origin) + ": " + wrong);
    if (d.big_endian) swap_bytes(out, bytes_per_element(d.dtype));
  }

  // The chunk as it stands in the file; returns the filters that were skipped.
  std::uint32_t read_stored(std::size_t object,
                            const std::vector<hsize_t>& origin,
                            std::size_t chunk_bytes,
                            std::vector<std::byte>& stored) const {
    const StoredDataset& d = *objects_[object].dataset;
    const std::string at = "chunk at " + list_text(origin) + ": ";
    const Hdf5Session session;
    const hid_t id = dataset(object);
    hsize_t bytes = chunk_bytes;
    if (H5Dget_chunk_storage_size(id, origin.data(), &bytes) < 0 || bytes == 0)
      fail(object, at + "never written");
    if (d.filters.empty() ? bytes != chunk_bytes : bytes > room(chunk_bytes))
      fail(object,
           at + fmt::format("it has {} bytes, not {}", bytes, chunk_bytes));
    stored.resize(bytes);
    state_.raw_bytes = bytes;
    std::uint32_t skipped = 0;
    const herr_t done =
        H5Dread_chunk(id, H5P_DEFAULT, origin.data(), &skipped, stored.data());
    state_.raw_bytes = 0;
    if (done < 0) fail(object, at + "cannot be read: " + hdf5_reason());
    return skipped;
  }

  // What filters may make of a chunk that they cannot shrink.
  static std::size_t room(std::size_t chunk_bytes) {
    return chunk_bytes + chunk_bytes / 8 + 1024;
  }

  std::shared_ptr<const InputFile> input_;
  mutable DriverState state_;  // libhdf5 is used by one thread at a time
  DrivenFile file_;
  std::vector<StoredObject> objects_;
  mutable std::map<std::size_t, Handle> datasets_;
  mutable ChunkCache cache_;
};

}  // namespace

std::shared_ptr<const Hdf5File> Hdf5File::open(
    std::shared_ptr<const InputFile> input) {
  const std::string path = input->path();
  try {
    check_superblock(*input);
    return std::make_shared<LibraryFile>(std::move(input));
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

}  // namespace kvtape
