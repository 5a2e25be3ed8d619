#include "io/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/list_text.h"

namespace kvtape {
namespace {

constexpr std::size_t kLongText = 1 << 20;

std::string float_text(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value < 0 ? "\"-Infinity\"" : "\"Infinity\"";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.begin(), buffer.end() - 2, value).ptr;
  std::string text(buffer.begin(), end);
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

struct ValueText {
  std::string operator()(NoValue) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const {
    return std::to_string(value);
  }
  std::string operator()(std::uint64_t value) const {
    return std::to_string(value);
  }
  std::string operator()(double value) const { return float_text(value); }
  std::string operator()(const std::string& value) const {
    return json_string(value);
  }
  std::string operator()(const std::vector<std::int64_t>& value) const {
    return list_text(value);
  }
};

}  // namespace

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true,
                                   nlohmann::json::error_handler_t::replace);
}

std::string json_value(const AttributeValue& value) {
  return std::visit(ValueText(), value);
}

void JsonWriter::break_line() {
  if (indent_ == 0) return;
  text_ += '\n';
  text_.append(static_cast<std::size_t>(indent_ * depth_), ' ');
}

void JsonWriter::open() {
  text_ += '{';
  ++depth_;
  empty_ = true;
}

void JsonWriter::close() {
  --depth_;
  if (!empty_) break_line();
  text_ += '}';
  empty_ = false;
  if (text_.size() > kLongText) flush();
}

void JsonWriter::key(std::string_view name, Line line) {
  if (!empty_) text_ += ',';
  if (line == Line::kNew) break_line();
  if (!empty_ && (line == Line::kSame || indent_ == 0)) text_ += ' ';
  empty_ = false;
  text_ += json_string(name);
  text_ += ": ";
}

void JsonWriter::value(std::string_view text) { text_ += text; }

void JsonWriter::member(std::string_view name, std::string_view text,
                        Line line) {
  key(name, line);
  value(text);
}

void JsonWriter::flush() {
  if (!text_.empty()) sink_(text_);
  text_.clear();
}

void JsonWriter::pass_on(std::string_view text) {
  flush();
  sink_(text);
}

void JsonWriter::finish() {
  text_ += '\n';
  flush();
}

}  // namespace kvtape
