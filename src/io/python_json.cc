// JSON text as Python's json.dumps writes it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/json_writer.h"
#include "kvtape/serialize.h"

namespace kvtape {
namespace {

// Python's repr: an exponent below 1e-4 and from 1e16 on, of two digits or
// more; a point everywhere else.
std::string python_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  const bool plain =
      value == 0 || (std::fabs(value) >= 1e-4 && std::fabs(value) < 1e16);
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.begin(), buffer.end(), value,
                                 plain ? std::chars_format::fixed
                                       : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer.begin(), end);
  if (plain && text.find('.') == text.npos) text += ".0";
  return text;
}

class PythonWriter {
 public:
  explicit PythonWriter(const JsonStyle& style)
      : style_(style),
        comma_(style.item_separator.value_or(style.indent ? "," : ", ")) {}

  std::string run(const Dict& value) {
    write(value, 1);
    return std::move(out_);
  }

 private:
  void break_line(int depth) {
    if (!style_.indent) return;
    out_ += '\n';
    const int blanks = std::max(*style_.indent, 0) * depth;
    out_.append(static_cast<std::size_t>(blanks), ' ');
  }

  void write(const Dict& value, int depth) {
    if (value.is_object())
      write_object(value, depth);
    else if (value.is_array())
      write_list(value, depth);
    else if (value.is_string())
      out_ += json_string(value.get_ref<const std::string&>());
    else if (value.is_number_float())
      out_ += python_float(value.get<double>());
    else
      out_ += value.dump();
  }

  void write_list(const Dict& value, int depth) {
    out_ += '[';
    bool first = true;
    for (const Dict& item : value) {
      if (!first) out_ += comma_;
      first = false;
      break_line(depth);
      write(item, depth + 1);
    }
    if (!first) break_line(depth - 1);
    out_ += ']';
  }

  void write_object(const Dict& value, int depth) {
    using Item = std::pair<std::string, const Dict*>;
    std::vector<Item> items;
    for (const auto& item : value.items())
      items.emplace_back(item.key(), &item.value());
    if (style_.sort_keys)
      std::sort(items.begin(), items.end(),
                [](const Item& a, const Item& b) { return a.first < b.first; });
    out_ += '{';
    for (const auto& [key, item] : items) {
      if (&key != &items.front().first) out_ += comma_;
      break_line(depth);
      out_ += json_string(key) + style_.key_separator;
      write(*item, depth + 1);
    }
    if (!items.empty()) break_line(depth - 1);
    out_ += '}';
  }

  const JsonStyle& style_;
  std::string comma_;
  std::string out_;
};

}  // namespace

std::string to_json(const Dict& dict, const JsonStyle& style) {
  return PythonWriter(style).run(dict);
}

}  // namespace kvtape
