#include "io/json_tensor_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/axes_text.h"
#include "io/base64.h"
#include "io/digest.h"
#include "io/list_text.h"
#include "io/number_text.h"
#include "kvtape/error.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using Bytes = TensorPass::Bytes;

// Bytes that one thread spells at a time: whole elements of every dtype, whole
// quads of base64, and several in what stream() gives at once.
constexpr std::size_t kPiece = std::size_t{3} << 15;
// More of them would be a tensor of NaN with payloads.
constexpr std::size_t kMostPayloads = 65536;

// Spells pieces of what stream() gives, each by one thread, in order.
class Speller {
 public:
  using Spell = std::function<void(Bytes, std::string&)>;

  Speller(Spell spell, std::string_view between, JsonWriter& writer,
          ThreadPool& pool)
      : spell_(std::move(spell)),
        between_(between),
        writer_(writer),
        pool_(pool) {}

  void add(Bytes bytes) {
    if (!rest_.empty()) bytes = filled_up(bytes);
    const std::size_t whole = bytes.size() / kPiece * kPiece;
    spell(bytes.first(whole));
    bytes = bytes.subspan(whole);
    rest_.insert(rest_.end(), bytes.begin(), bytes.end());
  }

  void finish() {
    spell(rest_);
    rest_.clear();
  }

 private:
  // What was left over, up to a whole piece.
  Bytes filled_up(Bytes bytes) {
    const std::size_t count = std::min(kPiece - rest_.size(), bytes.size());
    rest_.insert(rest_.end(), bytes.begin(),
                 bytes.begin() + static_cast<std::ptrdiff_t>(count));
    if (rest_.size() == kPiece) finish();
    return bytes.subspan(count);
  }

  // In pieces, of which the last may be short.
  void spell(Bytes bytes) {
    const std::size_t pieces = (bytes.size() + kPiece - 1) / kPiece;
    if (texts_.size() < pieces) texts_.resize(pieces);
    pool_.run(static_cast<std::int64_t>(pieces), [&](std::int64_t task,
                                                     int /*worker*/) {
      const auto i = static_cast<std::size_t>(task);
      const std::size_t first = i * kPiece;
      texts_[i].clear();
      spell_(bytes.subspan(first, std::min(kPiece, bytes.size() - first)),
             texts_[i]);
    });
    for (std::size_t i = 0; i < pieces; ++i) {
      if (begun_) writer_.text() += between_;
      begun_ = true;
      writer_.pass_on(texts_[i]);
    }
  }

  Spell spell_;
  std::string_view between_;
  JsonWriter& writer_;
  ThreadPool& pool_;
  std::vector<std::string> texts_;  // of pieces that are spelled at once
  std::vector<std::byte> rest_;     // of the bytes, less than a piece
  bool begun_ = false;
};

// The elements, and the digest of what they were.
void write_data(const PlannedDataset& dataset, Speller& speller,
                std::string_view quotes, JsonWriter& writer, TensorPass& pass) {
  Digest digest(dataset);
  writer.key("data");
  writer.value(quotes.substr(0, 1));
  pass.read(dataset, [&](Bytes bytes) {
    digest.add(bytes);
    speller.add(bytes);
  });
  speller.finish();
  writer.value(quotes.substr(1));
  const std::string text = digest.text();
  check_digest(dataset, text);
  writer.member("digest", json_string(text));
}

// true and false say nothing of other bytes.
void check_bools(Bytes bytes) {
  for (const std::byte byte : bytes)
    if (std::to_integer<int>(byte) > 1)
      throw Error({.field = "data",
                   .expected = "a bool of 0 or 1",
                   .found = std::to_string(std::to_integer<int>(byte)),
                   .hint = "--encoding base64 keeps it"});
}

void write_numbers(const PlannedDataset& dataset, JsonWriter& writer,
                   TensorPass& pass) {
  Speller speller(
      [dtype = dataset.dtype](Bytes bytes, std::string& out) {
        if (dtype == DType::kBool) check_bools(bytes);
        append_numbers(dtype, bytes, out);
      },
      ",", writer, pass.pool());
  write_data(dataset, speller, "[]", writer, pass);
}

void write_base64(const PlannedDataset& dataset, JsonWriter& writer,
                  TensorPass& pass) {
  Speller speller(append_base64, "", writer, pass.pool());
  write_data(dataset, speller, "\"\"", writer, pass);
}

// Pairs of an element's number and its bits, where a NaN says more than "NaN".
class NanPayloads {
 public:
  explicit NanPayloads(DType dtype)
      : dtype_(dtype),
        size_(static_cast<std::size_t>(bytes_per_element(dtype))) {}

  void add(Bytes bytes) {
    const std::size_t count = bytes.size() / size_;
    for (std::size_t i = 0;; ++i) {
      i = next_nan_payload(dtype_, bytes, i);
      if (i >= count) break;
      add_element(bytes.subspan(i * size_, size_), before_ + i);
    }
    before_ += count;
  }

  const std::string& text() const { return text_; }

 private:
  void add_element(Bytes element, std::size_t number) {
    if (++found_ > kMostPayloads)
      throw Error({.field = "nan_payloads",
                   .expected = fmt::format("at most {}", kMostPayloads),
                   .found = "more NaN with bits of their own",
                   .hint = "--encoding base64 keeps them all"});
    std::uint64_t bits = 0;
    std::memcpy(&bits, element.data(), size_);
    text_ += fmt::format("{}[{}, \"{:0{}x}\"]", text_.empty() ? "" : ", ",
                         number, bits, 2 * size_);
  }

  DType dtype_;
  std::size_t size_;
  std::size_t before_ = 0;  // elements of earlier slabs
  std::size_t found_ = 0;
  std::string text_;
};

void write_payloads(const PlannedDataset& dataset, JsonWriter& writer,
                    ThreadPool& pool) {
  if (!is_float(dataset.dtype)) return;
  NanPayloads payloads(dataset.dtype);
  stream(dataset, pool, [&](Bytes bytes) { payloads.add(bytes); });
  if (!payloads.text().empty())
    writer.member("nan_payloads", "[" + payloads.text() + "]");
}

}  // namespace

std::string number_of(double value, DType dtype) {
  if (!is_float(dtype)) return fmt::format("{:.0f}", value);
  std::array<std::byte, sizeof(double)> bytes{};
  store_number(value, dtype, bytes.data());
  std::string text;
  append_numbers(
      dtype,
      Bytes(bytes).first(static_cast<std::size_t>(bytes_per_element(dtype))),
      text);
  return text;
}

void write_summary(const kernels::Summary& summary, DType dtype,
                   JsonWriter& writer) {
  const bool any = summary.finite() > 0;
  const auto member = [&](const char* name, std::string text) {
    writer.member(name, any ? text : "null", Line::kSame);
  };
  const auto count = [&](const char* name, std::int64_t number) {
    writer.member(name, std::to_string(number), Line::kSame);
  };
  count("count", summary.count);
  // A minimum of -0 is 0.
  member("min", number_of(summary.min + 0.0, dtype));
  member("max", number_of(summary.max + 0.0, dtype));
  member("mean", json_value(any ? summary.mean() : 0));
  member("std", json_value(any ? summary.std() : 0));
  writer.member("zeros", std::to_string(summary.zeros));
  count("nan", summary.nan);
  count("inf", summary.inf);
}

std::string words_json(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (&word == words.data() ? "" : ", ") + json_string(word);
  return "[" + text + "]";
}

void write_attributes(const PlannedObject& object,
                      std::initializer_list<std::string_view> known,
                      JsonWriter& writer) {
  std::string text;
  for (const auto& [name, value] : object.attributes)
    if (std::find(known.begin(), known.end(), name) == known.end())
      text += (text.empty() ? "" : ", ") + json_string(name) + ": " +
              json_value(value);
  if (!text.empty()) writer.member("attributes", "{" + text + "}");
}

void write_tensor(const PlannedObject& object, Encoding encoding,
                  JsonWriter& writer, TensorPass& pass) {
  const PlannedDataset& dataset = *object.dataset;
  writer.member("dtype", json_string(name(dataset.dtype)));
  writer.member("shape", list_text(dataset.sizes), Line::kSame);
  writer.member("axes", words_json(dataset.axes), Line::kSame);
  for (const auto& [name, value] : object.attributes)
    if (const auto* words = std::get_if<std::string>(&value);
        name == "axis_names" && words != nullptr)
      writer.member("axis_names", words_json(split_words(*words)), Line::kSame);
  write_attributes(object, {"axes", "axis_names"}, writer);
  // What a document told without values has no summary.
  if (encoding == Encoding::kSummary && !dataset.source->has_values())
    encoding = Encoding::kNone;
  writer.member("encoding", json_string(name(encoding)));
  if (encoding == Encoding::kSummary) {
    const TensorPass::Digested digested = pass.summarize(dataset);
    write_summary(digested.summary, dataset.dtype, writer);
    writer.member("digest", json_string(digested.digest), Line::kSame);
  }
  if (encoding == Encoding::kNumbers) {
    write_payloads(dataset, writer, pass.pool());
    write_numbers(dataset, writer, pass);
  }
  if (encoding == Encoding::kBase64) write_base64(dataset, writer, pass);
}

}  // namespace kvtape
