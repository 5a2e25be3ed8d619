#include "io/json_tensor_text.h"

#include <fmt/format.h>

#include <cstring>

#include "io/axes_text.h"
#include "io/base64.h"
#include "io/digest.h"
#include "io/list_text.h"
#include "io/number_text.h"
#include "io/tensor_summary.h"
#include "kernels/elements.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

using Bytes = std::span<const std::byte>;

// Bytes that one thread spells at a time: whole elements of every dtype, and
// whole quads of base64.
constexpr std::size_t kPiece = std::size_t{3} << 18;
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
        pool_(pool),
        texts_(static_cast<std::size_t>(pool.size())) {}

  void add(Bytes bytes) {
    if (!rest_.empty()) bytes = filled_up(bytes);
    while (bytes.size() >= kPiece) bytes = spell_round(bytes);
    rest_.insert(rest_.end(), bytes.begin(), bytes.end());
  }

  void finish() {
    if (!rest_.empty()) spell_round(rest_);
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

  // A piece for each thread, the last one maybe short; returns what is left.
  Bytes spell_round(Bytes bytes) {
    const std::size_t whole = std::max<std::size_t>(bytes.size() / kPiece, 1);
    const std::size_t pieces = std::min(whole, texts_.size());
    pool_.run(static_cast<std::int64_t>(pieces),
              [&](std::int64_t task, int /*worker*/) {
                const auto i = static_cast<std::size_t>(task);
                const Bytes piece = bytes.subspan(
                    i * kPiece, std::min(kPiece, bytes.size() - i * kPiece));
                texts_[i].clear();
                spell_(piece, texts_[i]);
              });
    for (std::size_t i = 0; i < pieces; ++i) {
      if (begun_) writer_.text() += between_;
      begun_ = true;
      writer_.pass_on(texts_[i]);
    }
    return bytes.subspan(std::min(pieces * kPiece, bytes.size()));
  }

  Spell spell_;
  std::string_view between_;
  JsonWriter& writer_;
  ThreadPool& pool_;
  std::vector<std::string> texts_;
  std::vector<std::byte> rest_;
  bool begun_ = false;
};

void write_numbers(const PlannedDataset& dataset, JsonWriter& writer,
                   ThreadPool& pool) {
  writer.key("data");
  writer.value("[");
  Speller speller(
      [dtype = dataset.dtype](Bytes bytes, std::string& out) {
        append_numbers(dtype, bytes, out);
      },
      ",", writer, pool);
  stream(dataset, [&](Bytes bytes) { speller.add(bytes); });
  speller.finish();
  writer.value("]");
}

void write_base64(const PlannedDataset& dataset, JsonWriter& writer,
                  ThreadPool& pool) {
  writer.key("data");
  writer.value("\"");
  Speller speller(append_base64, "", writer, pool);
  stream(dataset, [&](Bytes bytes) { speller.add(bytes); });
  speller.finish();
  writer.value("\"");
}

// Pairs of an element's number and its bits, where a NaN says more than "NaN".
std::string payloads_of(const PlannedDataset& dataset) {
  const auto size = static_cast<std::size_t>(bytes_per_element(dataset.dtype));
  std::string text;
  std::size_t found = 0;
  std::size_t before = 0;  // elements of earlier slabs
  stream(dataset, [&](Bytes bytes) {
    const std::size_t count = bytes.size() / size;
    for (std::size_t i = 0;; ++i) {
      i = next_nan_payload(dataset.dtype, bytes, i);
      if (i >= count) break;
      if (++found > kMostPayloads)
        throw Error({.field = "nan_payloads",
                     .expected = fmt::format("at most {}", kMostPayloads),
                     .found = "more NaN with bits of their own",
                     .hint = "--encoding base64 keeps them all"});
      std::uint64_t bits = 0;
      std::memcpy(&bits, bytes.data() + i * size, size);
      text += fmt::format("{}[{}, \"{:0{}x}\"]", text.empty() ? "" : ", ",
                          before + i, bits, 2 * size);
    }
    before += count;
  });
  return text;
}

// Attributes but those that have members of their own.
void write_attributes(const PlannedObject& object, JsonWriter& writer) {
  std::string text;
  for (const auto& [name, value] : object.attributes) {
    if (name == "axes" || name == "digest") continue;
    const auto* words = std::get_if<std::string>(&value);
    if (name == "axis_names" && words != nullptr) continue;
    text += (text.empty() ? "" : ", ") + json_string(name) + ": " +
            json_value(value);
  }
  if (!text.empty()) writer.member("attributes", "{" + text + "}");
}

}  // namespace

void write_summary(const kernels::Summary& summary, JsonWriter& writer) {
  const bool any = summary.finite() > 0;
  const auto number = [&](double value) {
    return any ? json_value(value) : "null";
  };
  writer.member("count", std::to_string(summary.count));
  writer.member("min", number(summary.min));
  writer.member("max", number(summary.max));
  writer.member("mean", number(summary.mean));
  writer.member("std", number(summary.standard_deviation()));
  writer.member("zeros", std::to_string(summary.zeros));
  writer.member("nan", std::to_string(summary.nan));
  writer.member("inf", std::to_string(summary.inf));
}

std::string words_json(std::string_view words) {
  std::string text;
  for (const std::string& word : split_words(words))
    text += (text.empty() ? "" : ", ") + json_string(word);
  return "[" + text + "]";
}

void write_tensor(const PlannedObject& object, Encoding encoding,
                  JsonWriter& writer, ThreadPool& pool) {
  const PlannedDataset& dataset = *object.dataset;
  writer.member("dtype", json_string(name(dataset.dtype)));
  writer.member("shape", list_text(dataset.sizes));
  if (!dataset.axes.empty()) writer.member("axes", words_json(dataset.axes));
  for (const auto& [name, value] : object.attributes)
    if (const auto* words = std::get_if<std::string>(&value);
        name == "axis_names" && words != nullptr)
      writer.member("axis_names", words_json(*words));
  write_attributes(object, writer);
  writer.member("encoding", json_string(name(encoding)));
  if (encoding == Encoding::kSummary) {
    write_summary(summary_of(dataset), writer);
    writer.member("digest", json_string(digest_of(dataset)));
  }
  if (encoding == Encoding::kNumbers) {
    const std::string payloads =
        is_float(dataset.dtype) ? payloads_of(dataset) : "";
    if (!payloads.empty()) writer.member("nan_payloads", "[" + payloads + "]");
    write_numbers(dataset, writer, pool);
  }
  if (encoding == Encoding::kBase64) write_base64(dataset, writer, pool);
}

}  // namespace kvtape
