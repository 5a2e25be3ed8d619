// libhdf5 is C: what it calls here casts its H5FD_t to what stands behind it.
#include "hdf5/read_driver.h"

#include <fmt/format.h>

#include <cstring>

#include "hdf5/global_heap.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

struct GuardedFile {
  H5FD_t common;  // libhdf5's part comes first
  DriverState* state;
  haddr_t end_of_addresses;
};

GuardedFile& guarded(H5FD_t* file) {
  return *reinterpret_cast<GuardedFile*>(file);
}
const GuardedFile& guarded(const H5FD_t* file) {
  return *reinterpret_cast<const GuardedFile*>(file);
}

H5FD_t* open_file(const char*, unsigned flags, hid_t access, haddr_t) {
  const auto* info = static_cast<DriverState* const*>(
      static_cast<const void*>(H5Pget_driver_info(access)));
  if (info == nullptr || (*info)->opened || (flags & H5F_ACC_RDWR) != 0)
    return nullptr;
  (*info)->opened = true;
  auto* file = new GuardedFile{};
  file->state = *info;
  return &file->common;
}

herr_t close_file(H5FD_t* file) {
  delete &guarded(file);
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr) *flags = 0;
  return 0;
}

haddr_t get_eoa(const H5FD_t* file, H5FD_mem_t) {
  return guarded(file).end_of_addresses;
}

herr_t set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  guarded(file).end_of_addresses = address;
  return 0;
}

haddr_t get_eof(const H5FD_t* file, H5FD_mem_t) {
  return static_cast<haddr_t>(guarded(file).state->file->size());
}

// A collection begins here; libhdf5 may also ask for the rest of one.
bool is_heap(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GCOL", 4) == 0;
}

herr_t read_bytes(H5FD_t* file, H5FD_mem_t type, hid_t, haddr_t address,
                  size_t bytes, void* buffer) {
  const DriverState& state = *guarded(file).state;
  const auto size = static_cast<haddr_t>(state.file->size());
  if (address > size || bytes > size - address) return -1;
  const auto at = static_cast<std::int64_t>(address);
  if (state.wanted != nullptr && type == H5FD_MEM_DRAW) {
    state.wanted->address = at;
    state.wanted->bytes = static_cast<std::int64_t>(bytes);
    return 0;
  }
  const std::span out(static_cast<std::byte*>(buffer), bytes);
  if (!state.file->read(at, out)) return -1;
  // libhdf5 says of heaps too that they are raw data.
  if (is_heap(out) && !is_sound_heap(*state.file, at)) return -1;
  return 0;
}

herr_t write_bytes(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, size_t, const void*) {
  return -1;
}

// Free lists of libhdf5's allocator: one for everything, as nothing is written.
constexpr H5FD_class_t kDriver = {
    .name = "kvtape_guarded",
    .maxaddr = static_cast<haddr_t>(INT64_MAX),
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(DriverState*),
    .open = open_file,
    .close = close_file,
    .query = query,
    .get_eoa = get_eoa,
    .set_eoa = set_eoa,
    .get_eof = get_eof,
    .read = read_bytes,
    .write = write_bytes,
    .fl_map = H5FD_FLMAP_SINGLE,
};

[[noreturn]] void fail() {
  throw Error({.text = fmt::format("damaged HDF5: {}", hdf5_reason()),
               .hint = "copy the file again, or dump again"});
}

}  // namespace

DrivenFile open_guarded(DriverState& state) {
  Handle driver(H5FDregister(&kDriver), H5FDunregister);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  DriverState* info = &state;
  if (!driver || H5Pset_driver(access.get(), driver.get(), &info) < 0) fail();
  Handle file(H5Fopen("input", H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file) fail();
  return {std::move(driver), std::move(file)};
}

}  // namespace kvtape
