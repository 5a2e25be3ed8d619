#include "hdf5/layout_driver.h"

#include <algorithm>
#include <cstring>

#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr hsize_t kAlignment = 4096;  // of datasets at least this large

struct LayoutFile {
  H5FD_t common;  // libhdf5's part comes first
  LayoutState* state;
  haddr_t end_of_addresses;
};

LayoutFile& layout(H5FD_t* file) {
  return *reinterpret_cast<LayoutFile*>(file);
}
const LayoutFile& layout(const H5FD_t* file) {
  return *reinterpret_cast<const LayoutFile*>(file);
}

H5FD_t* open_file(const char*, unsigned, hid_t access, haddr_t) {
  const auto* info = static_cast<LayoutState* const*>(
      static_cast<const void*>(H5Pget_driver_info(access)));
  if (info == nullptr) return nullptr;
  auto* file = new LayoutFile{};
  file->state = *info;
  return &file->common;
}

herr_t close_file(H5FD_t* file) {
  delete &layout(file);
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr) *flags = H5FD_FEAT_AGGREGATE_METADATA;
  return 0;
}

haddr_t get_eoa(const H5FD_t* file, H5FD_mem_t) {
  return layout(file).end_of_addresses;
}

herr_t set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  layout(file).end_of_addresses = address;
  return 0;
}

haddr_t get_eof(const H5FD_t* file, H5FD_mem_t) {
  return layout(file).state->end;
}

// Calls `visit(page, offset in it, count)` for [address, address + bytes).
template <typename Visit>
void for_each_page(LayoutState& state, haddr_t address, std::size_t bytes,
                   const Visit& visit) {
  while (bytes > 0) {
    const std::size_t offset = address % LayoutPage::kBytes;
    const std::size_t count = std::min(bytes, LayoutPage::kBytes - offset);
    visit(state.pages[address - offset], offset, count);
    address += count;
    bytes -= count;
  }
}

void store(LayoutState& state, haddr_t address, const std::byte* from,
           std::size_t bytes) {
  for_each_page(state, address, bytes,
                [&](LayoutPage& page, std::size_t offset, std::size_t count) {
                  std::memcpy(page.bytes.data() + offset, from, count);
                  for (std::size_t i = 0; i < count; ++i)
                    page.written.set(offset + i);
                  from += count;
                });
}

herr_t read_bytes(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address,
                  size_t bytes, void* buffer) {
  auto* out = static_cast<std::byte*>(buffer);
  for_each_page(*layout(file).state, address, bytes,
                [&](LayoutPage& page, std::size_t offset, std::size_t count) {
                  std::memcpy(out, page.bytes.data() + offset, count);
                  out += count;
                });
  return 0;
}

herr_t write_bytes(H5FD_t* file, H5FD_mem_t type, hid_t, haddr_t address,
                   size_t bytes, const void* buffer) {
  LayoutState& state = *layout(file).state;
  state.end = std::max(state.end, address + bytes);
  if (type == H5FD_MEM_DRAW && state.wanted != nullptr)
    *state.wanted = address;
  else
    store(state, address, static_cast<const std::byte*>(buffer), bytes);
  return 0;
}

herr_t truncate_file(H5FD_t* file, hid_t, hbool_t) {
  layout(file).state->end = layout(file).end_of_addresses;
  return 0;
}

constexpr H5FD_class_t kDriver = {
    .name = "kvtape_layout",
    .maxaddr = static_cast<haddr_t>(INT64_MAX),
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(LayoutState*),
    .open = open_file,
    .close = close_file,
    .query = query,
    .get_eoa = get_eoa,
    .set_eoa = set_eoa,
    .get_eof = get_eof,
    .read = read_bytes,
    .write = write_bytes,
    .truncate = truncate_file,
    .fl_map = H5FD_FLMAP_SINGLE,
};

}  // namespace

DrivenFile create_layout(LayoutState& state) {
  Handle driver(H5FDregister(&kDriver), H5FDunregister);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  LayoutState* info = &state;
  const bool set =
      H5Pset_driver(access.get(), driver.get(), &info) >= 0 &&
      H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST,
                           H5F_LIBVER_LATEST) >= 0 &&
      H5Pset_alignment(access.get(), kAlignment, kAlignment) >= 0 &&
      H5Pset_obj_track_times(creation.get(), false) >= 0;
  Handle file;
  if (set)
    file =
        Handle(H5Fcreate("output", H5F_ACC_TRUNC, creation.get(), access.get()),
               H5Fclose);
  if (!file) throw Error({.text = "cannot be laid out: " + hdf5_reason()});
  return {std::move(driver), std::move(file)};
}

void for_each_written(
    const LayoutState& state,
    const std::function<void(haddr_t, std::span<const std::byte>)>& visit) {
  for (const auto& [address, page] : state.pages)
    for (std::size_t at = 0; at < LayoutPage::kBytes;) {
      std::size_t end = at;
      while (end < LayoutPage::kBytes && page.written[end] == page.written[at])
        ++end;
      if (page.written[at])
        visit(address + at, std::span(page.bytes).subspan(at, end - at));
      at = end;
    }
}

}  // namespace kvtape
