#include "io/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <memory>

namespace kvtape {
namespace {

std::string header_of(const PlannedDataset& dataset) {
  std::string text(name(dataset.dtype));
  for (std::size_t axis = 0; axis < dataset.sizes.size(); ++axis)
    text += fmt::format("{}{}", axis == 0 ? "[" : ",", dataset.sizes[axis]);
  return text + (dataset.sizes.empty() ? "[]" : "]");
}

}  // namespace

std::string digest_of(const PlannedDataset& dataset) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(
      XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const std::string header = header_of(dataset);
  XXH3_128bits_update(state.get(), header.data(), header.size());
  stream(dataset, [&](std::span<const std::byte> bytes) {
    XXH3_128bits_update(state.get(), bytes.data(), bytes.size());
  });
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("xxh3:{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace kvtape
