#include "io/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <map>
#include <new>

#include "io/file_source.h"
#include "io/list_text.h"
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

Digest::Digest(std::string_view start) : state_(std::make_unique<State>()) {
  if (state_->hash == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_->hash.get());
  add(start);
}

Digest::Digest(const PlannedDataset& dataset)
    : Digest(digest_header(dataset.dtype, dataset.sizes)) {}

Digest::~Digest() = default;

void Digest::add(std::span<const std::byte> elements) {
  XXH3_128bits_update(state_->hash.get(), elements.data(), elements.size());
}

void Digest::add(std::string_view text) { add(std::as_bytes(std::span(text))); }

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
                         "or dump the file again; if they were edited on "
                         "purpose, delete the digest"});
}

std::string digest_of(
    const PlannedDataset& dataset, ThreadPool& pool,
    const std::function<void(std::span<const std::byte>)>& visit) {
  Digest digest(dataset);
  stream(dataset, pool, [&](std::span<const std::byte> elements) {
    digest.add(elements);
    if (visit) visit(elements);
  });
  std::string text = digest.text();
  check_digest(dataset, text);
  return text;
}

namespace {

struct ValueText {
  std::string operator()(NoValue) const { return ""; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const {
    return std::to_string(value);
  }
  std::string operator()(std::uint64_t value) const {
    return std::to_string(value);
  }
  std::string operator()(double value) const {
    return fmt::format("x{:016x}", std::bit_cast<std::uint64_t>(value));
  }
  std::string operator()(const std::string& value) const {
    // HDF5 ends texts at their first zero.
    const std::string_view text(value.c_str());
    return fmt::format("{}:{}", text.size(), text);
  }
  std::string operator()(const std::vector<std::int64_t>& value) const {
    return list_text(value);
  }
};

std::string object_text(const StoredObject& object) {
  std::string text = object.path;
  if (const auto& d = object.dataset)
    text.append(" ").append(digest_header(d->dtype, d->sizes));
  text += '\n';
  std::map<std::string_view, std::string> values;
  for (const auto& [name, value] : object.attributes)
    values.emplace(name, std::visit(ValueText{}, value));
  if (object.path == "/") values.erase("digest");
  for (const auto& [name, value] : values)
    text += fmt::format(" {}={}\n", name, value);
  return text;
}

}  // namespace

std::string structure_digest(const std::vector<StoredObject>& objects) {
  std::vector<const StoredObject*> sorted;
  for (const StoredObject& object : objects) sorted.push_back(&object);
  std::sort(sorted.begin(), sorted.end(),
            [](const StoredObject* a, const StoredObject* b) {
              return a->path < b->path;
            });
  Digest digest("");
  for (const StoredObject* object : sorted) digest.add(object_text(*object));
  return digest.text();
}

std::optional<Finding> find_edited(const std::vector<StoredObject>& objects) {
  for (const auto& [name, value] : objects.front().attributes) {
    const auto* recorded = std::get_if<std::string>(&value);
    if (name != "digest" || recorded == nullptr) continue;
    std::string found = structure_digest(objects);
    if (found == *recorded) break;
    return Finding{
        .rule = "E08",
        .object = "/",
        .field = "digest",
        .expected = *recorded,
        .found = std::move(found),
        .fix =
            "dump or copy the file again; if it was edited on purpose, "
            "delete the attribute digest of /"};
  }
  return {};
}

}  // namespace kvtape
