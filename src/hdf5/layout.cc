#include "hdf5/layout.h"

#include <algorithm>

#include "hdf5/attributes.h"
#include "hdf5/types.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

[[noreturn]] void fail() {
  throw Error({.text = "cannot be laid out: " + hdf5_reason()});
}

std::vector<hsize_t> sizes_of(const std::vector<std::int64_t>& sizes) {
  return {sizes.begin(), sizes.end()};
}

Handle space_of(const std::vector<std::int64_t>& sizes) {
  if (sizes.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> dims = sizes_of(sizes);
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
          H5Sclose};
}

}  // namespace

Hdf5Layout::Hdf5Layout(int level)
    : level_(level), file_(create_layout(state_)) {}

std::int64_t Hdf5Layout::put(const StoredObject& object) {
  last_ = object.dataset ? dataset(object.path, *object.dataset)
          : object.path == "/"
              ? Handle(H5Gopen2(file_.file.get(), "/", H5P_DEFAULT), H5Gclose)
              : group(object.path);
  if (!last_) fail();
  if (!object.dataset) return -1;
  const haddr_t offset = H5Dget_offset(last_.get());
  return offset == HADDR_UNDEF ? -1 : static_cast<std::int64_t>(offset);
}

Handle Hdf5Layout::group(const std::string& path) {
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);
  return {H5Gcreate2(file_.file.get(), path.c_str(), H5P_DEFAULT,
                     creation.get(), H5P_DEFAULT),
          H5Gclose};
}

Handle Hdf5Layout::dataset(const std::string& path, const StoredDataset& d) {
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  if (d.layout == StoredDataset::Layout::kChunked)
    set_chunks(creation.get(), d);
  else
    H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
  const Handle space = space_of(d.sizes);
  const Handle type = file_type(d.dtype);
  return {H5Dcreate2(file_.file.get(), path.c_str(), type.get(), space.get(),
                     H5P_DEFAULT, creation.get(), H5P_DEFAULT),
          H5Dclose};
}

void Hdf5Layout::set_chunks(hid_t creation, const StoredDataset& d) const {
  const std::vector<hsize_t> sizes = sizes_of(d.chunk);
  H5Pset_chunk(creation, static_cast<int>(sizes.size()), sizes.data());
  // The order of encode_chunk().
  H5Pset_shuffle(creation);
  H5Pset_deflate(creation, static_cast<unsigned>(level_));
  H5Pset_fletcher32(creation);
}

std::int64_t Hdf5Layout::put_chunk(const std::vector<std::int64_t>& origin,
                                   std::int64_t bytes, std::uint32_t skipped) {
  const std::vector<hsize_t> at = sizes_of(origin);
  const auto size = static_cast<std::size_t>(bytes);
  if (zeros_.size() < size) zeros_.resize(size);
  haddr_t address = HADDR_UNDEF;
  state_.wanted = &address;
  const herr_t done = H5Dwrite_chunk(last_.get(), H5P_DEFAULT, skipped,
                                     at.data(), size, zeros_.data());
  state_.wanted = nullptr;
  if (done < 0 || address == HADDR_UNDEF) fail();
  return static_cast<std::int64_t>(address);
}

void Hdf5Layout::put_attribute(const std::string& name,
                               const AttributeValue& value) {
  write_attribute(last_.get(), name, value);
}

std::int64_t Hdf5Layout::finish(
    const std::function<void(haddr_t, std::span<const std::byte>)>& visit) {
  last_.reset();
  if (!file_.close()) fail();
  for_each_written(state_, visit);
  return static_cast<std::int64_t>(state_.end);
}

}  // namespace kvtape
