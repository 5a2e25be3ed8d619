#include "io/json_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/json_number.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

class ElementReader {
 public:
  ElementReader(TextStream& text, const JsonTensor& tensor, TensorStore& store)
      : text_(text),
        tensor_(tensor),
        store_(store),
        size_(static_cast<std::size_t>(bytes_per_element(tensor.dtype()))) {}

  void read_numbers() {
    expect('[', "a list of numbers");
    bool first = true;
    for (bool more = true; more; first = false) more = read_run(first);
    check_count();
  }

  void read_base64() {
    expect('"', "a text in base64");
    for (bool more = true; more;) more = read_base64_run();
    if (group_size_ != 0) fail(0, "the text", "it ends inside four characters");
    if (bytes_ % size_ != 0) fail(0, "whole elements", "a part of one");
    check_count();
  }

 private:
  [[noreturn]] void fail(std::size_t after, std::string_view expected,
                         std::string_view found, std::string hint = "") {
    const TextPlace place = text_.place(after);
    throw Error(
        {.text = fmt::format("line {}, column {}: expected {}, found {}",
                             place.line, place.column, expected, found),
         .hint = std::move(hint)});
  }

  void expect(char first, const char* what) {
    if (text_.at_end()) fail(0, what, "the end of the document");
    if (text_.ahead().front() != first) fail(0, what, "something else");
    text_.skip(1);
  }

  std::int64_t count() const {
    return static_cast<std::int64_t>(bytes_ / size_);
  }

  void check_count() {
    if (count() != tensor_.count())
      fail(0, fmt::format("{} elements", tensor_.count()),
           std::to_string(count()));
  }

  // The words up to the list's end, or to the last comma that has come; false
  // behind the end.
  bool read_run(bool first) {
    std::string_view run;
    bool ends = false;
    for (;;) {
      run = text_.ahead();
      const std::size_t end = run.find(']');
      ends = end != run.npos;
      const std::size_t cut = ends ? end : run.rfind(',');
      if (cut != run.npos) {
        run = run.substr(0, cut);
        break;
      }
      if (!text_.more()) fail_unended(run.size());
    }
    const bool is_empty = run.find_first_not_of(kBlanks) == run.npos;
    if (!(first && ends && is_empty)) read_words(run);
    text_.skip(run.size() + 1);
    return !ends;
  }

  [[noreturn]] void fail_unended(std::size_t bytes) {
    if (bytes == text_.block_bytes()) fail(0, "a number", "no end of it");
    fail(bytes, "the rest of a list", "the end of the document");
  }

  void read_words(std::string_view run) {
    elements_.clear();
    std::size_t at = 0;
    while (at <= run.size()) {
      const std::size_t comma = std::min(run.find(',', at), run.size());
      read_word(run.substr(at, comma - at), at);
      at = comma + 1;
    }
    put_payloads();
    bytes_ += elements_.size();
    store_.append(elements_);
  }

  void read_word(std::string_view word, std::size_t at) {
    const std::size_t first =
        std::min(word.find_first_not_of(kBlanks), word.size());
    word = word.substr(first, word.find_last_not_of(kBlanks) + 1 - first);
    const std::size_t before = elements_.size();
    if (count() + static_cast<std::int64_t>(before / size_) == tensor_.count())
      fail(at + first, fmt::format("{} elements", tensor_.count()), "more");
    elements_.resize(before + size_);
    const std::string_view expected =
        parse_element(tensor_.dtype(), word, &elements_[before]);
    if (!expected.empty())
      fail(at + first, expected, fmt::format("'{}'", word.substr(0, 40)));
  }

  // Of the NaN among the elements that are to be kept next.
  void put_payloads() {
    const std::int64_t first = count();
    const auto& payloads = tensor_.nan_payloads();
    for (; next_payload_ < payloads.size(); ++next_payload_) {
      const NanPayload& payload = payloads[next_payload_];
      const auto at = static_cast<std::size_t>(payload.element - first) * size_;
      if (at >= elements_.size()) return;
      std::uint64_t bits = 0;
      std::memcpy(&bits, &elements_[at], size_);
      if (!is_nan(bits, tensor_.dtype()))
        fail(0, fmt::format("NaN at element {}", payload.element), "a number");
      std::memcpy(&elements_[at], &payload.bits, size_);
    }
  }

  bool read_base64_run() {
    if (text_.at_end()) fail(0, "base64", "the end of the document");
    elements_.clear();
    const std::string_view run = text_.ahead();
    for (std::size_t at = 0; at < run.size(); ++at) {
      if (run[at] != '"') {
        add_base64(run[at], at);
        continue;
      }
      text_.skip(at + 1);
      keep();
      return false;
    }
    text_.skip(run.size());
    keep();
    return true;
  }

  void keep() {
    bytes_ += elements_.size();
    if (count() > tensor_.count())
      fail(0, fmt::format("{} elements", tensor_.count()), "more");
    store_.append(elements_);
  }

  void add_base64(char c, std::size_t at) {
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const std::size_t value = c == '=' ? 0 : kAlphabet.find(c);
    const bool pads = c == '=';
    if (value == kAlphabet.npos || (padding_ > 0 && !pads) ||
        (pads && group_size_ < 2))
      fail(at, "base64",
           fmt::format("byte {:#04x}", static_cast<unsigned char>(c)));
    padding_ += pads;
    group_ = group_ << 6 | static_cast<std::uint32_t>(value);
    if (++group_size_ < 4) return;
    if (padding_ > 0 && (group_ & ((1U << (8 * padding_)) - 1)) != 0)
      fail(at, "zeros before the padding", "other bits");
    for (std::uint32_t byte = 0; byte < 3 - padding_; ++byte)
      elements_.push_back(static_cast<std::byte>(group_ >> (16 - 8 * byte)));
    group_ = 0;
    group_size_ = 0;
  }

  TextStream& text_;
  const JsonTensor& tensor_;
  TensorStore& store_;
  std::size_t size_;                 // of an element
  std::size_t bytes_ = 0;            // kept
  std::vector<std::byte> elements_;  // not yet kept
  std::size_t next_payload_ = 0;
  std::uint32_t group_ = 0;  // of base64
  std::uint32_t group_size_ = 0;
  std::uint32_t padding_ = 0;
};

}  // namespace

void read_elements(TextStream& text, const JsonTensor& tensor,
                   TensorStore& store) {
  ElementReader reader(text, tensor, store);
  if (tensor.encoding() == JsonEncoding::kBase64)
    reader.read_base64();
  else
    reader.read_numbers();
}

}  // namespace kvtape
