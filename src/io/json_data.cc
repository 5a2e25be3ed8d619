#include "io/json_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/base64.h"
#include "io/number_scan.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

// Text whose elements are read at once: they stay in the cache until they are
// kept. More than a number can have.
constexpr std::size_t kAtOnce = std::size_t{128} << 10;

class ElementReader {
 public:
  ElementReader(TextStream& text, const JsonTensor& tensor, TensorStore* store)
      : text_(text),
        tensor_(tensor),
        store_(store),
        size_(static_cast<std::size_t>(bytes_per_element(tensor.dtype()))) {}

  void read_numbers() {
    expect('[', "a list of numbers");
    NumberScan scan(tensor_.dtype(), tensor_.count());
    for (bool final = false; !scan.done();) {
      const std::size_t used = feed(scan, final);
      text_.skip(used);
      if (used == 0 || text_.ahead().empty()) final = !text_.more();
    }
  }

  void read_base64() {
    expect('"', "a text in base64");
    while (!at_quote()) {
      if (text_.ahead().size() >= 4 || text_.more() ||
          text_.ahead().find('"') != text_.ahead().npos)
        decode(next_quads());
      else
        fail(text_.ahead().size(), "base64", "the end of the document");
    }
    text_.skip(1);
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

  [[noreturn]] void fail(std::size_t after, const Error& error) {
    const TextPlace place = text_.place(after);
    ErrorParts parts = error.parts();
    parts.text =
        fmt::format("line {}, column {}: expected {}, found {}", place.line,
                    place.column, parts.expected, parts.found);
    throw Error(std::move(parts));
  }

  void expect(char first, const char* what) {
    if (text_.at_end()) fail(0, what, "the end of the document");
    if (text_.ahead().front() != first) fail(0, what, "something else");
    start_ = text_.place();
    text_.skip(1);
  }

  std::int64_t count() const {
    return static_cast<std::int64_t>(bytes_ / size_);
  }

  void check_count() {
    if (count() != tensor_.count())
      fail(0, fmt::format("{} values, as the shape says", tensor_.count()),
           std::to_string(count()));
  }

  std::size_t feed(NumberScan& scan, bool final) {
    const std::string_view text = text_.ahead().substr(0, kAtOnce);
    final = final && text.size() == text_.ahead().size();
    const std::int64_t before = scan.elements();
    const std::size_t room = (text.size() / 2 + 1) * size_;
    if (buffer_.size() < room) buffer_.resize(room);
    scan.write_to(buffer_);
    const auto elements = [&] {
      const auto read = static_cast<std::size_t>(scan.elements() - before);
      return std::span(buffer_).first(read * size_);
    };
    std::size_t used = 0;
    try {
      used = scan.feed(text, final);
    } catch (const Error& error) {
      put_payloads(elements());  // what is wrong with them comes first
      fail(scan.fault(text), error);
    }
    put_payloads(elements());
    keep(elements());
    return used;
  }

  // Of the NaN among the elements that are to be kept next.
  void put_payloads(std::span<std::byte> elements) {
    const std::int64_t first = count();
    const auto& payloads = tensor_.nan_payloads();
    for (; next_payload_ < payloads.size(); ++next_payload_) {
      const NanPayload& payload = payloads[next_payload_];
      const auto at = static_cast<std::size_t>(payload.element - first) * size_;
      if (at >= elements.size()) return;
      std::uint64_t bits = 0;
      std::memcpy(&bits, &elements[at], size_);
      if (!is_nan(bits, tensor_.dtype()))
        // What has been read behind it depends on how the text came in.
        throw Error(
            {.text = fmt::format("line {}, column {}: expected NaN at "
                                 "element {}, found a number",
                                 start_.line, start_.column, payload.element)});
      std::memcpy(&elements[at], payload.bits.data(), size_);
    }
  }

  bool at_quote() const { return text_.ahead().starts_with('"'); }

  // The fours of characters that come next: those that have come, up to padding
  // and to the last that the tensor has elements for. What is wrong first in
  // the text is so in whatever pieces it comes.
  std::string_view next_quads() {
    const std::string_view ahead = text_.ahead().substr(0, kAtOnce);
    std::string_view text = ahead.substr(0, ahead.find('"'));
    if (text.size() < 4) {
      if (!text.empty() && text.size() < ahead.size())
        fail(text.size(), "base64 in whole fours of characters",
             "a part of one");
      return {};
    }
    if (padded_) fail(0, "base64", "more behind its padding");
    text = text.substr(0, quads_left(std::ssize(text)));
    if (const std::size_t padding = text.find('='); padding != text.npos)
      text = text.substr(0, padding / 4 * 4 + 4);
    return text.substr(0, text.size() / 4 * 4);
  }

  // Characters for the bytes that are missing, where fewer than `characters`.
  std::size_t quads_left(std::int64_t characters) {
    const auto size = static_cast<std::int64_t>(size_);
    const std::int64_t elements =
        std::min(tensor_.count() - count(), characters);
    const std::int64_t bytes =
        elements * size - static_cast<std::int64_t>(bytes_) % size;
    if (bytes <= 0) fail_longer();
    return static_cast<std::size_t>(base64_size(bytes));
  }

  void decode(std::string_view quads) {
    const std::size_t room = quads.size() / 4 * 3;
    if (buffer_.size() < room) buffer_.resize(room);
    const std::int64_t got = decode_base64(quads, buffer_);
    if (got < 0) fail_base64(quads);
    const auto bytes = static_cast<std::size_t>(got);
    padded_ |= bytes < room;
    text_.skip(quads.size());
    keep(std::span(buffer_).first(bytes));
  }

  [[noreturn]] void fail_base64(std::string_view quads) {
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const std::size_t at = quads.find_first_not_of(kAlphabet);
    if (quads[at] == '=') fail(at, "base64", "padding that does not fit");
    fail(at, "base64",
         fmt::format("byte {:#04x}", static_cast<unsigned char>(quads[at])));
  }

  [[noreturn]] void fail_longer() {
    fail(0, fmt::format("{} values, as the shape says", tensor_.count()),
         "more");
  }

  void keep(std::span<const std::byte> elements) {
    bytes_ += elements.size();
    if (count() > tensor_.count()) fail_longer();
    if (store_ != nullptr) store_->append(elements);
  }

  TextStream& text_;
  const JsonTensor& tensor_;
  TensorStore* store_;
  TextPlace start_;                // of the elements
  std::size_t size_;               // of an element
  std::size_t bytes_ = 0;          // kept
  std::vector<std::byte> buffer_;  // of what is not yet kept
  std::size_t next_payload_ = 0;
  bool padded_ = false;  // base64 has ended
};

}  // namespace

void read_elements(TextStream& text, const JsonTensor& tensor,
                   TensorStore* store) {
  ElementReader reader(text, tensor, store);
  if (tensor.encoding() == JsonEncoding::kBase64)
    reader.read_base64();
  else
    reader.read_numbers();
}

}  // namespace kvtape
