#include "io/file_source.h"

#include "core/box.h"
#include "io/digest.h"
#include "io/filters.h"
#include "io/regions.h"

namespace kvtape {
namespace {

std::string filters_text(const StoredDataset& d) {
  std::string text;
  for (const StoredFilter& filter : d.filters) {
    if (!text.empty()) text += ", ";
    text += filter.kind == StoredFilter::Kind::kDeflate   ? "deflate"
            : filter.kind == StoredFilter::Kind::kShuffle ? "shuffle"
                                                          : "fletcher32";
  }
  return text;
}

std::string layout_text(const StoredDataset& d) {
  if (d.layout == StoredDataset::Layout::kContiguous) return "contiguous";
  if (d.layout == StoredDataset::Layout::kChunked) return "chunked";
  return "compact";
}

Storage storage_of(const StoredObject& object) {
  const StoredDataset& d = *object.dataset;
  Storage storage{.layout = layout_text(d),
                  .filters = filters_text(d),
                  .stored_bytes = d.stored_bytes};
  for (const auto& [name, value] : object.attributes)
    if (const auto* text = std::get_if<std::string>(&value);
        text != nullptr && name == "digest")
      storage.digest = *text;
  if (!storage.digest.empty())
    storage.digested = digest_header(d.dtype, d.sizes);
  return storage;
}

// A contiguous dataset: addressable, unless its bytes must be swapped.
class MappedSource final : public FileSource {
 public:
  MappedSource(std::shared_ptr<const InputFile> input,
               std::shared_ptr<const MappedFile> mapped,
               const StoredObject& object, std::vector<std::int64_t> sizes)
      : FileSource(std::move(input)),
        mapped_(std::move(mapped)),
        data_(mapped_->bytes().subspan(
            static_cast<std::size_t>(object.dataset->offset),
            static_cast<std::size_t>(object.dataset->stored_bytes))),
        sizes_(std::move(sizes)),
        bytes_per_element_(bytes_per_element(object.dataset->dtype)),
        big_endian_(object.dataset->big_endian),
        storage_(storage_of(object)) {}

  std::span<const std::byte> bytes() const override {
    return big_endian_ ? std::span<const std::byte>() : data_;
  }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element_, out.size());
    copy_box(data_.data(), sizes_, bytes_per_element_, box, out);
    if (big_endian_) swap_bytes(out, bytes_per_element_);
  }

  Storage storage() const override { return storage_; }

 private:
  std::shared_ptr<const MappedFile> mapped_;
  std::span<const std::byte> data_;
  std::vector<std::int64_t> sizes_;
  int bytes_per_element_;
  bool big_endian_;
  Storage storage_;
};

// A chunked or compact dataset: read box by box.
class Hdf5Source final : public FileSource {
 public:
  Hdf5Source(std::shared_ptr<const InputFile> input,
             std::shared_ptr<const Hdf5File> file, std::size_t object,
             std::vector<std::int64_t> sizes)
      : FileSource(std::move(input)),
        file_(std::move(file)),
        object_(object),
        sizes_(std::move(sizes)) {}

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    const StoredDataset& d = dataset();
    const int size = bytes_per_element(d.dtype);
    check_box(box, sizes_, size, out.size());
    if (sizes_ == d.sizes) return file_->read(object_, box, out);
    // One axis over a dataset of several.
    for_each_run(d.sizes, box.first[0], box.count[0], [&](const Box& run) {
      std::int64_t bytes = size;
      for (std::int64_t count : run.count) bytes *= count;
      file_->read(object_, run, out.first(static_cast<std::size_t>(bytes)));
      out = out.subspan(static_cast<std::size_t>(bytes));
    });
  }

  Storage storage() const override {
    return storage_of(file_->objects()[object_]);
  }

 private:
  const StoredDataset& dataset() const {
    return *file_->objects()[object_].dataset;
  }

  std::shared_ptr<const Hdf5File> file_;
  std::size_t object_;
  std::vector<std::int64_t> sizes_;
};

}  // namespace

std::shared_ptr<const SlabSource> FileSources::make(
    std::size_t object, std::vector<std::int64_t> sizes) {
  const StoredObject& stored = file_->objects()[object];
  if (stored.dataset->layout != StoredDataset::Layout::kContiguous)
    return std::make_shared<Hdf5Source>(input_, file_, object,
                                        std::move(sizes));
  if (mapped_ == nullptr) mapped_ = std::make_shared<MappedFile>(input_);
  return std::make_shared<MappedSource>(input_, mapped_, stored,
                                        std::move(sizes));
}

std::shared_ptr<const SlabSource> FileSources::source(std::size_t object) {
  return make(object, file_->objects()[object].dataset->sizes);
}

std::shared_ptr<const SlabSource> FileSources::flat_source(std::size_t object) {
  std::int64_t count = 1;
  for (std::int64_t size : file_->objects()[object].dataset->sizes)
    count *= size;
  return make(object, {count});
}

}  // namespace kvtape
