#include "io/json_reader.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/box.h"
#include "io/base64_source.h"
#include "io/digest.h"
#include "io/fields.h"
#include "io/file_source.h"
#include "io/json_objects.h"
#include "io/tape_reader.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::string_view kSchema = "kvtape.dump/1";

// Elements that the store holds. Elements of a bf16 are written in their bits.
class StoredSource final : public FileSource {
 public:
  StoredSource(std::shared_ptr<const InputFile> input,
               std::shared_ptr<const TensorStore> store,
               std::span<const std::byte> bytes,
               std::vector<std::int64_t> sizes, int bytes_per_element,
               Storage storage)
      : FileSource(std::move(input)),
        store_(std::move(store)),
        bytes_(bytes),
        sizes_(std::move(sizes)),
        bytes_per_element_(bytes_per_element),
        storage_(std::move(storage)) {}

  std::span<const std::byte> bytes() const override { return bytes_; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element_, out.size());
    copy_box(bytes_.data(), sizes_, bytes_per_element_, box, out);
  }

  Storage storage() const override { return storage_; }

 private:
  std::shared_ptr<const TensorStore> store_;
  std::span<const std::byte> bytes_;
  std::vector<std::int64_t> sizes_;
  int bytes_per_element_;
  Storage storage_;
};

// Elements that the document does not hold.
class AbsentSource final : public FileSource {
 public:
  AbsentSource(std::shared_ptr<const InputFile> input, std::string object,
               Storage storage)
      : FileSource(std::move(input)),
        object_(std::move(object)),
        storage_(std::move(storage)) {}

  bool has_values() const override { return false; }
  std::span<const std::byte> bytes() const override { return {}; }
  void read(const Box&, std::span<std::byte>) const override {
    throw Error({.file = input() == nullptr ? "" : input()->path(),
                 .object = object_,
                 .text = "its values are not in the document",
                 .hint = "dump the cache with its values: kvtape dump FILE "
                         "--values all"});
  }
  Storage storage() const override { return storage_; }

 private:
  std::string object_;
  Storage storage_;
};

bool has_values(JsonEncoding encoding) {
  return encoding == JsonEncoding::kNumbers ||
         encoding == JsonEncoding::kBase64;
}

class JsonSources final : public Sources {
 public:
  JsonSources(std::shared_ptr<const InputFile> input,
              const JsonDocument& document,
              std::shared_ptr<const TensorStore> store)
      : input_(std::move(input)),
        document_(document),
        store_(std::move(store)) {}

  std::shared_ptr<const SlabSource> source(std::size_t object) override {
    return make(object, document_.objects[object].dataset->sizes);
  }
  std::shared_ptr<const SlabSource> flat_source(std::size_t object) override {
    return make(object, {count(object)});
  }

 private:
  std::int64_t count(std::size_t object) const {
    std::int64_t count = 1;  // the reader checked the product
    for (std::int64_t size : document_.objects[object].dataset->sizes)
      count *= size;
    return count;
  }

  std::shared_ptr<const SlabSource> make(std::size_t object,
                                         std::vector<std::int64_t> sizes) {
    const StoredObject& stored = document_.objects[object];
    const JsonElements& elements = document_.elements[object];
    const bool numbers = elements.encoding == JsonEncoding::kNumbers;
    Storage storage{.layout = numbers ? "numbers" : "base64",
                    .filters = "",
                    .stored_bytes = elements.text_bytes};
    for (const auto& [name, value] : stored.attributes)
      if (const auto* text = std::get_if<std::string>(&value);
          text != nullptr && name == "digest")
        storage.digest = *text;
    if (!storage.digest.empty())
      storage.digested =
          digest_header(stored.dataset->dtype, stored.dataset->sizes);
    if (!has_values(elements.encoding)) {
      storage.layout = "absent";
      return std::make_shared<AbsentSource>(input_, stored.path, storage);
    }
    const int size = bytes_per_element(stored.dataset->dtype);
    if (elements.in_text) {
      if (mapped_ == nullptr) mapped_ = std::make_shared<MappedFile>(input_);
      return std::make_shared<Base64Source>(input_, mapped_, elements.first,
                                            std::move(sizes), size, storage);
    }
    const auto bytes =
        store_->bytes().subspan(static_cast<std::size_t>(elements.first),
                                static_cast<std::size_t>(count(object) * size));
    return std::make_shared<StoredSource>(input_, store_, bytes,
                                          std::move(sizes), size, storage);
  }

  std::shared_ptr<const InputFile> input_;
  const JsonDocument& document_;
  std::shared_ptr<const TensorStore> store_;
  std::shared_ptr<const MappedFile> mapped_;
};

bool is_metadata_field(const std::string& name) {
  constexpr auto kFields = std::to_array<std::string_view>(
      {"batch_size", "sequence_length", "num_hidden_layers", "pad_token_id",
       "num_heads", "head_dim", "key_heads", "value_heads", "key_dim",
       "value_dim", "update_causal_mask", "create_attention_bias"});
  return std::find(kFields.begin(), kFields.end(), name) != kFields.end();
}

// A record of metadata becomes the document of a cache without layers.
bool is_record(const std::vector<StoredObject>& objects) {
  const auto& root = objects.front().attributes;
  const auto has = [&](const auto& is_it) {
    return std::any_of(root.begin(), root.end(), is_it);
  };
  const auto is_schema = [](const auto& a) { return a.first == "schema"; };
  const auto is_field = [](const auto& a) {
    return is_metadata_field(a.first);
  };
  return objects.size() == 1 && has(is_field) && !has(is_schema);
}

void make_document(JsonDocument& document) {
  StoredObject metadata{.path = "/metadata"};
  metadata.attributes.swap(document.objects.front().attributes);
  document.objects.push_back(std::move(metadata));
  document.elements.emplace_back();
  document.objects.front().attributes.emplace_back("format_version",
                                                   std::int64_t{1});
}

// The schema is how a document says what it is; the model knows none.
void take_schema(Attributes& root) {
  const auto schema = std::find_if(
      root.begin(), root.end(),
      [](const auto& attribute) { return attribute.first == "schema"; });
  if (schema == root.end() ||
      schema->second != AttributeValue(std::string(kSchema)))
    throw Error(
        {.object = "/",
         .field = "schema",
         .expected = "\"" + std::string(kSchema) + "\"",
         .found = schema == root.end() ? "nothing" : value_text(schema->second),
         .hint = "kvtape-json(5) says what a document holds"});
  root.erase(schema);
}

// EasyDeL's create() has no default for it, and None is something else.
void tell_missing(const JsonDocument& document,
                  std::vector<Finding>& findings) {
  for (const auto& [name, value] : document.objects.back().attributes)
    if (name == "pad_token_id") return;
  findings.push_back({.rule = "E01",
                      .object = "/metadata",
                      .field = "pad_token_id",
                      .expected = "an integer, or null",
                      .found = "nothing",
                      .fix = "write pad_token_id"});
}

void tell_absent(const JsonDocument& document, std::vector<Finding>& findings) {
  std::int64_t absent = 0;
  for (std::size_t i = 0; i < document.objects.size(); ++i)
    absent += document.objects[i].dataset &&
              !has_values(document.elements[i].encoding);
  if (absent == 0) return;
  findings.push_back({.rule = "W05",
                      .object = "/",
                      .field = "values",
                      .expected = "those of all tensors",
                      .found = "none of " + std::to_string(absent),
                      .fix = "dump the cache with --values all"});
}

}  // namespace

JsonTape read_json_tape(TextStream& text,
                        std::shared_ptr<const InputFile> input) {
  const auto store = std::make_shared<TensorStore>();
  JsonDocument document = read_document(text, *store);
  const bool record = is_record(document.objects);
  if (record)
    make_document(document);
  else
    take_schema(document.objects.front().attributes);
  JsonSources sources(std::move(input), document, store);
  JsonTape result{tape_of(document.objects, sources), record};
  if (record) tell_missing(document, result.tape.findings);
  tell_absent(document, result.tape.findings);
  return result;
}

}  // namespace kvtape
