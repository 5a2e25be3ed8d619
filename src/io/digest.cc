#include "io/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "io/file_source.h"
#include "kvtape/error.h"

namespace kvtape {

std::string digest_header(DType dtype, const std::vector<std::int64_t>& sizes) {
  std::string text(name(dtype));
  for (std::size_t axis = 0; axis < sizes.size(); ++axis)
    text += fmt::format("{}{}", axis == 0 ? "[" : ",", sizes[axis]);
  return text + (sizes.empty() ? "[]" : "]");
}

namespace {

std::string file_of(const SlabSource& source) {
  const auto* file = dynamic_cast<const FileSource*>(&source);
  return file == nullptr || file->input() == nullptr ? ""
                                                     : file->input()->path();
}

}  // namespace

struct Digest::State {
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash{
      XXH3_createState(), XXH3_freeState};
};

Digest::Digest(const PlannedDataset& dataset)
    : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->hash.get());
  const std::string header = digest_header(dataset.dtype, dataset.sizes);
  add(std::as_bytes(std::span(header)));
}

Digest::~Digest() = default;

void Digest::add(std::span<const std::byte> elements) {
  XXH3_128bits_update(state_->hash.get(), elements.data(), elements.size());
}

std::string Digest::text() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->hash.get());
  return fmt::format("xxh3:{:016x}{:016x}", hash.high64, hash.low64);
}

bool has_digest(const PlannedDataset& dataset) {
  const Storage storage = dataset.source->storage();
  return storage.digest.starts_with("xxh3:") && dataset.source->has_values() &&
         dataset.box.count == dataset.source_sizes &&
         storage.digested == digest_header(dataset.dtype, dataset.sizes);
}

void check_digest(const PlannedDataset& dataset, const std::string& digest) {
  if (!has_digest(dataset)) return;
  const std::string recorded = dataset.source->storage().digest;
  if (recorded != digest)
    throw Error({.file = file_of(*dataset.source),
                 .field = "digest",
                 .expected = recorded,
                 .found = digest,
                 .hint = "the elements changed after they were written: copy "
                         "or dump the file again"});
}

std::string digest_of(
    const PlannedDataset& dataset,
    const std::function<void(std::span<const std::byte>)>& visit) {
  Digest digest(dataset);
  stream(dataset, [&](std::span<const std::byte> elements) {
    digest.add(elements);
    if (visit) visit(elements);
  });
  std::string text = digest.text();
  check_digest(dataset, text);
  return text;
}

}  // namespace kvtape
