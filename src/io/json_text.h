// What the lexer of nlohmann/json is given to read: the text of a document
// without its big values, within limits that hold before it takes memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "io/text_stream.h"

namespace kvtape {

class JsonText {
 public:
  /// Reads as the characters of the text, once.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = char;

    Iterator() = default;  // the end of any text
    explicit Iterator(JsonText& text) : text_(&text) {}

    char operator*() const { return text_->current(); }
    Iterator& operator++() {
      text_->advance();
      return *this;
    }
    bool operator==(const Iterator&) const {
      return text_ == nullptr || text_->at_end();
    }

   private:
    JsonText* text_ = nullptr;
  };

  explicit JsonText(TextStream& stream) : stream_(stream) {}

  Iterator begin() { return Iterator(*this); }
  static Iterator end() { return {}; }

  /// Goes to the value of the member whose key the lexer has just read; false
  /// where there is none, which the lexer is left to find.
  bool enter_value();

  /// The stream stands behind that value: the lexer is to read null there.
  void leave_value() { instead_ = ":null"; }

  /// Where the lexer's last character stands.
  TextPlace place() const;

  /// Did the lexer stop at a bare NaN or Infinity, as Python writes them?
  bool is_at_nan() const;

 private:
  bool at_end() { return instead_.empty() && stream_.at_end(); }
  char current() const {
    return instead_.empty() ? stream_.ahead().front() : instead_.front();
  }
  void advance();
  void check(char next);

  TextStream& stream_;
  std::string_view instead_;  // comes before what the stream has
  std::int64_t taken_ = 0;    // characters
  std::size_t run_ = 0;       // characters of the token
  char last_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace kvtape
