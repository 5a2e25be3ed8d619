// libhdf5 lays the file out in memory; our code writes the tensors' bytes where
// it says they belong. Only chunks, which have no place before they are
// deflated, go through libhdf5.
#include "io/hdf5_writer.h"

#include <algorithm>

#include "io/digest.h"
#include "io/filters.h"
#include "io/hdf5_attributes.h"
#include "io/hdf5_layout.h"
#include "io/hdf5_types.h"
#include "io/regions.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::int64_t kChunkBytes = 1 << 20;  // at most
constexpr std::int64_t kLeastChunked = 4096;   // smaller ones stay contiguous

using Sizes = std::vector<std::int64_t>;

std::int64_t product(const Sizes& sizes) {
  std::int64_t result = 1;
  for (std::int64_t size : sizes) result *= size;
  return result;
}

// Halves the slowest axes until a chunk is small enough.
Sizes chunk_sizes(Sizes sizes, int bytes_per_element) {
  for (std::int64_t& size : sizes)
    while (size > 1 && product(sizes) * bytes_per_element > kChunkBytes)
      size = (size + 1) / 2;
  return sizes;
}

class Hdf5Writer {
 public:
  Hdf5Writer(AtomicFile& out, const WriteOptions& options) : options_(options) {
    state_.out = &out;
  }

  void run(const WritePlan& plan) {
    for (const auto& [path, object] : plan)
      if (object.dataset) total_ += bytes_of(*object.dataset);
    lay_out(plan);
    write_layout(state_);
  }

 private:
  void lay_out(const WritePlan& plan) {
    const Hdf5Session session;
    file_ = create_layout(state_);
    try {
      for (const auto& [path, object] : plan) put_named(path, object);
    } catch (...) {
      file_.close();  // while the session lasts
      throw;
    }
    if (!file_.close()) fail();
  }

  void put_named(const std::string& path, const PlannedObject& object) {
    try {
      put(path, object);
    } catch (const Error& error) {
      ErrorParts parts = error.parts();
      // A failing output file has a name and no field.
      if (parts.object.empty() && (parts.file.empty() || !parts.field.empty()))
        parts.object = path;
      throw Error(std::move(parts));
    }
  }

  [[noreturn]] static void fail() {
    throw Error({.text = "cannot be laid out: " + hdf5_reason()});
  }

  void put(const std::string& path, const PlannedObject& object) {
    const Handle handle = object.dataset ? dataset(path, *object.dataset)
                          : path == "/"  ? root()
                                         : group(path);
    if (!handle) fail();
    for (const auto& [name, value] : object.attributes)
      write_attribute(handle.get(), name, value);
    if (object.dataset)
      write_attribute(handle.get(), "digest",
                      write_elements(*object.dataset, handle.get()));
  }

  Handle root() {
    return {H5Gopen2(file_.file.get(), "/", H5P_DEFAULT), H5Gclose};
  }

  Handle group(const std::string& path) {
    const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    return {H5Gcreate2(file_.file.get(), path.c_str(), H5P_DEFAULT,
                       creation.get(), H5P_DEFAULT),
            H5Gclose};
  }

  Handle dataset(const std::string& path, const PlannedDataset& planned) {
    const bool chunked = options_.compress && !planned.sizes.empty() &&
                         bytes_of(planned) >= kLeastChunked;
    const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
    Sizes chunk;
    if (chunked)
      chunk = set_chunks(creation.get(), planned);
    else
      H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
    Handle result = create(path, planned, creation.get());
    if (!result) fail();
    if (chunked) write_chunks(result.get(), planned, chunk);
    return result;
  }

  Handle create(const std::string& path, const PlannedDataset& planned,
                hid_t creation) {
    const std::vector<hsize_t> sizes(planned.sizes.begin(),
                                     planned.sizes.end());
    const Handle space(sizes.empty()
                           ? H5Screate(H5S_SCALAR)
                           : H5Screate_simple(static_cast<int>(sizes.size()),
                                              sizes.data(), nullptr),
                       H5Sclose);
    const Handle type = file_type(planned.dtype);
    return {H5Dcreate2(file_.file.get(), path.c_str(), type.get(), space.get(),
                       H5P_DEFAULT, creation, H5P_DEFAULT),
            H5Dclose};
  }

  // Those of a contiguous dataset go to where libhdf5 has put it, chunks have
  // gone already. Returns the digest: the elements are read once for both.
  std::string write_elements(const PlannedDataset& planned, hid_t id) {
    const haddr_t offset = H5Dget_offset(id);
    if (offset == HADDR_UNDEF) return digest_of(planned);
    auto at = static_cast<std::int64_t>(offset);
    return digest_of(planned, [&](std::span<const std::byte> bytes) {
      state_.out->write(at, bytes);
      at += std::ssize(bytes);
      tell_progress(std::ssize(bytes));
    });
  }

  void tell_progress(std::int64_t bytes) {
    done_ += bytes;
    if (options_.progress) options_.progress(done_, total_);
  }

  // ---- compressed datasets

  Sizes set_chunks(hid_t creation, const PlannedDataset& planned) const {
    const Sizes chunk =
        chunk_sizes(planned.sizes, bytes_per_element(planned.dtype));
    const std::vector<hsize_t> sizes(chunk.begin(), chunk.end());
    H5Pset_chunk(creation, static_cast<int>(sizes.size()), sizes.data());
    // The order of encode_chunk().
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, static_cast<unsigned>(options_.level));
    H5Pset_fletcher32(creation);
    return chunk;
  }

  void write_chunks(hid_t id, const PlannedDataset& planned,
                    const Sizes& chunk) {
    const Box all{Sizes(chunk.size(), 0), planned.sizes};
    for_each_chunk(all, chunk, [&](std::span<const std::int64_t> number) {
      Box box{Sizes(number.begin(), number.end()), chunk};
      for (std::size_t axis = 0; axis < chunk.size(); ++axis)
        box.first[axis] *= chunk[axis];
      fill(planned, box);
      tell_progress(std::ssize(slab_));
      write_chunk(id, bytes_per_element(planned.dtype), box.first);
    });
  }

  // chunk_ becomes the chunk that begins at box.first; zeros beyond the edges.
  void fill(const PlannedDataset& planned, const Box& box) {
    const int size = bytes_per_element(planned.dtype);
    Box inside = box;
    for (std::size_t axis = 0; axis < box.first.size(); ++axis)
      inside.count[axis] =
          std::min(box.count[axis], planned.sizes[axis] - box.first[axis]);
    slab_.resize(static_cast<std::size_t>(product(inside.count) * size));
    read_part(planned, inside);
    chunk_.assign(static_cast<std::size_t>(product(box.count) * size),
                  std::byte{0});
    copy_overlap(slab_.data(), inside.first, inside.count, box, chunk_.data(),
                 size);
  }

  // The source has other axes where a layer was taken out of a stack, or codes
  // stand in a row: the part's elements are runs of it.
  void read_part(const PlannedDataset& planned, const Box& part) {
    if (planned.source_sizes == planned.sizes)
      return read_planned(planned, part, slab_);
    const std::int64_t row = part.count.back();
    const auto bytes =
        static_cast<std::size_t>(row * bytes_per_element(planned.dtype));
    Box one = part;
    std::fill(one.count.begin(), one.count.end() - 1, 1);
    for (std::size_t done = 0; done < slab_.size(); done += bytes) {
      read_row(planned, one, std::span(slab_).subspan(done, bytes));
      for (std::size_t axis = part.first.size() - 1; axis-- > 0;) {
        if (++one.first[axis] < part.first[axis] + part.count[axis]) break;
        one.first[axis] = part.first[axis];
      }
    }
  }

  static void read_row(const PlannedDataset& planned, const Box& row,
                       std::span<std::byte> out) {
    std::int64_t first = 0;
    for (std::size_t axis = 0; axis < planned.sizes.size(); ++axis)
      first = first * planned.sizes[axis] + row.first[axis];
    const int size = bytes_per_element(planned.dtype);
    for_each_run(planned.box.count, first, row.count.back(), [&](Box run) {
      for (std::size_t axis = 0; axis < run.first.size(); ++axis)
        run.first[axis] += planned.box.first[axis];
      const auto bytes = static_cast<std::size_t>(product(run.count) * size);
      read_planned(planned, run, out.first(bytes));
      out = out.subspan(bytes);
    });
  }

  void write_chunk(hid_t id, int bytes_per_element, const Sizes& origin) {
    const std::uint32_t skipped =
        encode_chunk(bytes_per_element, options_.level, chunk_, slab_);
    const std::vector<hsize_t> at(origin.begin(), origin.end());
    state_.streams = true;
    const herr_t done = H5Dwrite_chunk(id, H5P_DEFAULT, skipped, at.data(),
                                       chunk_.size(), chunk_.data());
    state_.streams = false;
    if (state_.failure) std::rethrow_exception(state_.failure);
    if (done < 0) fail();
  }

  const WriteOptions& options_;
  LayoutState state_;
  DrivenFile file_;
  std::int64_t done_ = 0;  // bytes of tensors
  std::int64_t total_ = 0;
  std::vector<std::byte> chunk_;
  std::vector<std::byte> slab_;
};

}  // namespace

void write_hdf5(const WritePlan& plan, AtomicFile& out,
                const WriteOptions& options) {
  Hdf5Writer(out, options).run(plan);
}

}  // namespace kvtape
