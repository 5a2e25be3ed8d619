#include "hdf5/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/natural.h"
#include "hdf5/attributes.h"
#include "hdf5/datasets.h"

namespace kvtape {
namespace {

constexpr int kDeepest = 16;                            // groups in groups
constexpr std::size_t kMostObjects = 100'000;           // of a file
constexpr std::int64_t kMostAttributeBytes = 64 << 20;  // of a file
constexpr std::int64_t kMostNameBytes = 64 << 20;       // of a file

struct Link {
  std::string name;
  H5L_type_t type;
};

struct Links {
  std::vector<Link> links;
  std::int64_t name_bytes_left;
};

herr_t add_link(hid_t, const char* name, const H5L_info_t* info, void* data) {
  auto& found = *static_cast<Links*>(data);
  found.links.push_back({name, info->type});
  found.name_bytes_left -= std::ssize(found.links.back().name);
  return found.links.size() > kMostObjects || found.name_bytes_left < 0 ? -1
                                                                        : 0;
}

std::string_view link_text(H5L_type_t type) {
  if (type == H5L_TYPE_SOFT) return "a soft link";
  if (type == H5L_TYPE_EXTERNAL) return "a link to another file";
  return "a link of its own kind";
}

// Visits everything under the root group.
class Walk {
 public:
  using Visit = std::function<void(StoredObject)>;

  explicit Walk(const Visit& visit) : visit_(visit) {}

  void run(hid_t file) { object(file, "/", "/", 0); }

 private:
  void object(hid_t parent, const std::string& name, const std::string& path,
              int depth) {
    const Handle object(H5Oopen(parent, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object) fail(path);
    if (++objects_ > kMostObjects) fail_many(path);
    switch (H5Iget_type(object.get())) {
      case H5I_GROUP:
        return group(object.get(), path, depth);
      case H5I_DATASET:
        return visit_({path, attributes(object.get(), path),
                       describe_dataset(object.get(), path)});
      default:
        throw Error({.object = path,
                     .expected = "a group or a dataset",
                     .found = "a named type"});
    }
  }

  void group(hid_t group, const std::string& path, int depth) {
    check_new(group, path, depth);
    visit_({path, attributes(group, path), {}});
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
      object(group, link.name, below, depth + 1);
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
    Links found{.links = {}, .name_bytes_left = name_bytes_left_};
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add_link,
                   &found) < 0) {
      if (found.links.size() > kMostObjects) fail_many(path);
      fail(path);
    }
    name_bytes_left_ = found.name_bytes_left;
    std::sort(found.links.begin(), found.links.end(),
              [](const Link& a, const Link& b) {
                return natural_less(a.name, b.name);
              });
    return std::move(found.links);
  }

  Attributes attributes(hid_t object, const std::string& path) {
    return read_attributes(object, path, attribute_bytes_left_);
  }

  [[noreturn]] static void fail_many(const std::string& path) {
    throw Error({.object = path,
                 .field = "objects",
                 .expected = fmt::format("at most {}", kMostObjects),
                 .found = "more"});
  }

  [[noreturn]] static void fail(const std::string& path) {
    throw Error({.object = path, .text = "damaged: " + hdf5_reason()});
  }

  const Visit& visit_;
  std::size_t objects_ = 0;
  std::int64_t attribute_bytes_left_ = kMostAttributeBytes;
  std::int64_t name_bytes_left_ = kMostNameBytes;
  std::set<haddr_t> groups_;
};

// The origin of a chunk by its number in C order; nothing beyond the last.
std::vector<hsize_t> origin_of(const StoredDataset& d, std::int64_t number) {
  std::vector<hsize_t> origin(d.sizes.size());
  for (std::size_t axis = origin.size(); axis-- > 0;) {
    const std::int64_t chunks =
        d.sizes[axis] / d.chunk[axis] + (d.sizes[axis] % d.chunk[axis] != 0);
    if (chunks == 0) return {};
    origin[axis] = static_cast<hsize_t>(number % chunks * d.chunk[axis]);
    number /= chunks;
  }
  if (number != 0) origin.clear();
  return origin;
}

}  // namespace

Hdf5Reader::Hdf5Reader(const InputFile& input) {
  state_.file = &input;
  file_ = open_guarded(state_);
}

void Hdf5Reader::describe(
    const std::function<void(const StoredObject&)>& visit) {
  objects_.clear();
  Walk([&](StoredObject object) {
    visit(object);
    object.attributes.clear();
    if (object.dataset) object.dataset->compact.clear();
    objects_.push_back(std::move(object));
  }).run(file_.file.get());
}

std::vector<ChunkPlace> Hdf5Reader::find_chunks(std::size_t object,
                                                std::int64_t first,
                                                std::int64_t count) {
  const StoredObject& stored = objects_.at(object);
  const Handle dataset(
      H5Dopen2(file_.file.get(), stored.path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset)
    throw Error(
        {.object = stored.path, .text = "cannot be read: " + hdf5_reason()});
  std::vector<ChunkPlace> places;
  for (std::int64_t number = first; std::ssize(places) < count; ++number) {
    const std::vector<hsize_t> origin = origin_of(*stored.dataset, number);
    if (origin.empty()) break;
    places.push_back(find_chunk(dataset.get(), origin));
  }
  return places;
}

ChunkPlace Hdf5Reader::find_chunk(hid_t dataset,
                                  const std::vector<hsize_t>& origin) {
  constexpr ChunkPlace kUnwritten{};
  constexpr ChunkPlace kLost{.bytes = -1};
  hsize_t bytes = 0;
  if (H5Dget_chunk_storage_size(dataset, origin.data(), &bytes) < 0 ||
      bytes == 0)
    return kUnwritten;
  // The driver notes where libhdf5 would read, and reads nothing.
  ChunkPlace place = kLost;
  std::byte nothing{};
  state_.wanted = &place;
  const herr_t done = H5Dread_chunk(dataset, H5P_DEFAULT, origin.data(),
                                    &place.skipped, &nothing);
  state_.wanted = nullptr;
  return done < 0 ? kLost : place;
}

}  // namespace kvtape
