#include "hdf5/datasets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "core/checked.h"
#include "hdf5/types.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr int kHighestRank = 8;
constexpr int kMostFilters = 4;
constexpr std::int64_t kMostCompact = 64 * 1024;  // bytes, of the format

struct Check {
  const std::string& path;

  [[noreturn]] void refuse(std::string field, std::string expected,
                           std::string found, std::string hint = "") const {
    throw Error({.object = path,
                 .field = std::move(field),
                 .expected = std::move(expected),
                 .found = std::move(found),
                 .hint = std::move(hint)});
  }
  [[noreturn]] void fail() const {
    throw Error({.object = path, .text = "cannot be read: " + hdf5_reason()});
  }
};

StoredDataset::Layout layout_of(hid_t creation, const Check& check) {
  switch (H5Pget_layout(creation)) {
    case H5D_CONTIGUOUS:
      return StoredDataset::Layout::kContiguous;
    case H5D_CHUNKED:
      return StoredDataset::Layout::kChunked;
    case H5D_COMPACT:
      return StoredDataset::Layout::kCompact;
    case H5D_VIRTUAL:
      check.refuse("layout", "contiguous, chunked or compact", "virtual",
                   "it names other files; copy the data into this one");
    default:
      check.fail();
  }
}

void check_not_external(hid_t creation, const Check& check) {
  if (const int files = H5Pget_external_count(creation); files != 0)
    check.refuse("storage", "inside the file",
                 fmt::format("{} external files", files),
                 "it names other files; copy the data into this one");
}

void set_type(hid_t dataset, StoredDataset& d, const Check& check) {
  const Handle type(H5Dget_type(dataset), H5Tclose);
  if (!type) check.fail();
  const auto element = element_type(type.get());
  if (!element)
    check.refuse("type", "floats of 16, 32 or 64 bits, integers or bools",
                 type_text(type.get()));
  d.dtype = element->dtype;
  d.big_endian = element->big_endian;
}

void set_sizes(hid_t dataset, StoredDataset& d, const Check& check) {
  const Handle space(H5Dget_space(dataset), H5Sclose);
  if (!space) check.fail();
  // Kept as a number: libhdf5 hands on what the file says, enumerator or not.
  const int shape = H5Sget_simple_extent_type(space.get());
  if (shape != H5S_SIMPLE && shape != H5S_SCALAR)
    check.refuse("shape", "numbers", "None");
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0 || rank > kHighestRank)
    check.refuse("shape", fmt::format("at most {} axes", kHighestRank),
                 std::to_string(rank));
  std::array<hsize_t, kHighestRank> sizes{};
  H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
  for (int axis = 0; axis < rank; ++axis)
    d.sizes.push_back(static_cast<std::int64_t>(sizes[std::size_t(axis)]));
}

StoredFilter filter_of(hid_t creation, unsigned number, const Check& check) {
  unsigned flags = 0;
  unsigned config = 0;
  std::array<unsigned, 8> values{};
  std::size_t count = values.size();
  const H5Z_filter_t id = H5Pget_filter2(creation, number, &flags, &count,
                                         values.data(), 0, nullptr, &config);
  switch (id) {
    case H5Z_FILTER_DEFLATE:
      return {.kind = StoredFilter::Kind::kDeflate};
    case H5Z_FILTER_SHUFFLE:
      return {.kind = StoredFilter::Kind::kShuffle,
              .bytes_per_element = count > 0 ? values[0] : 0};
    case H5Z_FILTER_FLETCHER32:
      return {.kind = StoredFilter::Kind::kFletcher32};
    default:
      check.refuse("filters", "deflate, shuffle and fletcher32",
                   fmt::format("filter number {}", static_cast<int>(id)),
                   "store it with gzip, or uncompressed");
  }
}

void set_filters(hid_t creation, StoredDataset& d, const Check& check) {
  const int count = H5Pget_nfilters(creation);
  if (count < 0 || count > kMostFilters)
    check.refuse("filters", fmt::format("at most {}", kMostFilters),
                 std::to_string(count));
  for (int number = 0; number < count; ++number)
    d.filters.push_back(
        filter_of(creation, static_cast<unsigned>(number), check));
}

void set_chunk(hid_t creation, StoredDataset& d, const Check& check) {
  std::array<hsize_t, kHighestRank> sizes{};
  const int rank = H5Pget_chunk(creation, kHighestRank, sizes.data());
  if (rank < 0 || static_cast<std::size_t>(rank) != d.sizes.size())
    check.refuse("chunk", fmt::format("{} axes", d.sizes.size()),
                 std::to_string(rank));
  for (std::size_t axis = 0; axis < d.sizes.size(); ++axis)
    d.chunk.push_back(static_cast<std::int64_t>(sizes[axis]));
  unsigned options = 0;
  if (H5Pget_chunk_opts(creation, &options) < 0) check.fail();
  if (options != 0)
    check.refuse("chunk", "filters on every chunk", "none at the edges");
}

// No file is so large: it will be refused.
std::int64_t clamped(hsize_t number) {
  constexpr hsize_t kMost = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(number, kMost));
}

// Of what was never written there is no address.
void set_offset(hid_t dataset, StoredDataset& d) {
  const haddr_t offset = H5Dget_offset(dataset);
  if (offset == HADDR_UNDEF)
    d.stored_bytes = 0;
  else
    d.offset = clamped(offset);
}

// The elements stand in the header itself: at most 64 KiB. Left out where the
// header has others than its sizes say.
void set_compact(hid_t dataset, StoredDataset& d, const Check& check) {
  const auto count = checked_product(d.sizes);
  const auto bytes =
      count ? checked_mul(*count, bytes_per_element(d.dtype)) : count;
  if (!bytes || *bytes != d.stored_bytes || *bytes > kMostCompact) return;
  d.compact.resize(static_cast<std::size_t>(*bytes));
  // The type in memory is the one in the file: libhdf5 converts nothing.
  const Handle type(H5Dget_type(dataset), H5Tclose);
  if (H5Tget_size(type.get()) !=
          static_cast<std::size_t>(bytes_per_element(d.dtype)) ||
      H5Dread(dataset, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
              d.compact.data()) < 0)
    check.fail();
}

}  // namespace

StoredDataset describe_dataset(hid_t dataset, const std::string& path) {
  const Check check{path};
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  if (!creation) check.fail();
  StoredDataset d;
  d.layout = layout_of(creation.get(), check);
  check_not_external(creation.get(), check);
  set_type(dataset, d, check);
  set_sizes(dataset, d, check);
  if (d.layout == StoredDataset::Layout::kChunked)
    set_chunk(creation.get(), d, check);
  set_filters(creation.get(), d, check);
  d.stored_bytes = clamped(H5Dget_storage_size(dataset));
  if (d.layout == StoredDataset::Layout::kContiguous)
    set_offset(dataset, d);
  else if (d.layout == StoredDataset::Layout::kCompact)
    set_compact(dataset, d, check);
  return d;
}

}  // namespace kvtape
