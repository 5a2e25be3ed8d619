// libFuzzer: what kvtape-hdf5 may answer once a hostile file has taken it over.
// The first byte says which message is expected. What is taken must be the same
// when it is sent on, and a dataset that is believed must fit its file.
#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

#include "io/hdf5_messages.h"
#include "io/stored_checks.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

template <typename Get>
void check_message(std::span<const std::byte> data, Get get) {
  WireReader in(data);
  const auto message = get(in);
  WireWriter out;
  put(out, message);
  WireReader again(out.data());
  WireWriter second;
  put(second, get(again));
  again.end();
  check(std::ranges::equal(out.data(), second.data()));
}

void check_dataset(std::span<const std::byte> data) {
  constexpr std::int64_t kFileBytes = 1 << 20;
  WireReader in(data);
  const StoredObject object = get_object(in);
  if (!object.dataset) return;
  check_stored(object, kFileBytes);
  const StoredDataset& dataset = *object.dataset;
  if (dataset.layout != StoredDataset::Layout::kContiguous) return;
  check(dataset.offset >= 0 && dataset.stored_bytes >= 0 &&
        dataset.offset <= kFileBytes - dataset.stored_bytes);
}

void read(unsigned kind, std::span<const std::byte> data) {
  switch (kind % 6) {
    case 0:
      return check_message(data, get_hello);
    case 1:
      return check_message(data, get_error);
    case 2:
      return check_message(data, get_attribute);
    case 3:
      return check_message(data, get_object);
    case 4:
      return check_message(data, get_chunk_place);
    default:
      return check_dataset(data);
  }
}

}  // namespace
}  // namespace kvtape

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  if (size == 0) return 0;
  try {
    kvtape::read(data[0], std::as_bytes(std::span(data, size)).subspan(1));
  } catch (const kvtape::Error&) {
    // It is refused.
  }
  return 0;
}
