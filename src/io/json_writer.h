// Text that grows towards a sink: JSON with or without line breaks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/stored_object.h"
#include "kvtape/json.h"

namespace kvtape {

/// A JSON string in ASCII; bytes that are no UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

/// None is null, a float never looks like an integer, NaN is a string.
std::string json_value(const AttributeValue& value);

/// Where a member of an object stands.
enum class Line : std::uint8_t { kNew, kSame };

/// Objects in objects, given in order.
class JsonWriter {
 public:
  JsonWriter(int indent, const TextSink& sink) : indent_(indent), sink_(sink) {}

  void open();  // an object, as the value of a key or on its own
  void close();
  void key(std::string_view name, Line line = Line::kNew);
  void value(std::string_view text);  // JSON
  void member(std::string_view name, std::string_view text,
              Line line = Line::kNew);

  /// A part of a value that is written piece by piece after key(): into
  /// text(), or passed on without a copy.
  std::string& text() { return text_; }
  void pass_on(std::string_view text);
  void finish();

 private:
  void flush();
  void break_line();

  int indent_;
  const TextSink& sink_;
  std::string text_;
  int depth_ = 0;
  bool empty_ = true;  // the innermost object, so far
};

}  // namespace kvtape
