#include "io/json_text.h"

#include <algorithm>

#include "kvtape/error.h"

namespace kvtape {
namespace {

// The lexer keeps blanks too, a byte for each.
constexpr std::int64_t kMostTaken = std::int64_t{128} << 20;  // bytes
constexpr std::size_t kLongestString = std::size_t{1} << 20;  // bytes
constexpr std::size_t kLongestWord = 1024;  // of a number, say; bytes

bool ends_a_word(char next) {
  constexpr std::string_view kEnds = " \t\r\n,:[]{}";
  return kEnds.find(next) != kEnds.npos;
}

}  // namespace

// nlohmann's lexer keeps a whole token, of any length.
void JsonText::check(char next) {
  const bool leaves_string = in_string_ && next == '"' && !escaped_;
  if (leaves_string || (!in_string_ && (next == '"' || ends_a_word(next))))
    run_ = 0;
  else
    ++run_;
  if (next == '"' && !escaped_) in_string_ = !in_string_;
  escaped_ = in_string_ && next == '\\' && !escaped_;
  if (run_ > (in_string_ ? kLongestString : kLongestWord))
    throw Error({.expected = in_string_ ? "a text of at most 1 MiB"
                                        : "a word of at most 1024 bytes",
                 .found = "a longer one"});
  if (++taken_ > kMostTaken)
    throw Error({.expected = "at most 128 MiB besides the tensors' data",
                 .found = "more"});
}

void JsonText::advance() {
  if (!instead_.empty()) return instead_.remove_prefix(1);
  last_ = stream_.ahead().front();
  check(last_);
  stream_.skip(1);
}

bool JsonText::enter_value() {
  if (!stream_.skip_blanks() || stream_.ahead().front() != ':') return false;
  stream_.skip(1);
  if (!stream_.skip_blanks()) throw Error({.text = "the document ends here"});
  return true;
}

TextPlace JsonText::place() const {
  TextPlace place = stream_.place();
  place.column = std::max<std::int64_t>(place.column - 1, 1);
  return place;
}

bool JsonText::is_at_nan() const {
  return (last_ == 'N' && stream_.ahead().starts_with("aN")) ||
         (last_ == 'I' && stream_.ahead().starts_with("nfinity"));
}

}  // namespace kvtape
