// Text for people: names made safe, columns, colour, marks.
#include "report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "report/numbers.h"
#include "report/utf8.h"

namespace kvtape {
namespace {

std::string hex(std::uint32_t value, std::size_t digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(digits, '0');
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit) {
    *digit = kDigits[value % 16];
    value /= 16;
  }
  return text;
}

// A hidden character or an invalid byte in digits.
std::string escaped(const Character& character) {
  const auto value = static_cast<std::uint32_t>(character.value);
  if (!character.valid || value < 0x80) return "\\x" + hex(value, 2);
  if (value < 0x10000) return "\\u" + hex(value, 4);
  return "\\U" + hex(value, 8);
}

std::string padded(const std::string& cell, int width, Align align) {
  const int missing = std::max(0, width - display_width(cell));
  const std::string blanks(static_cast<std::size_t>(missing), ' ');
  return align == Align::kLeft ? cell + blanks : blanks + cell;
}

std::vector<int> column_widths(const Table& table) {
  std::vector<int> widths;
  for (const Column& column : table.columns) {
    widths.push_back(display_width(column.title));
  }
  for (const auto& row : table.rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], display_width(row[column]));
    }
  }
  return widths;
}

std::string line(const Table& table, const std::vector<int>& widths,
                 const std::vector<std::string>& cells) {
  std::string text;
  for (std::size_t column = 0; column < cells.size(); ++column) {
    text += "  " +
            padded(cells[column], widths[column], table.columns[column].align);
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text + '\n';
}

}  // namespace

std::string printable(std::string_view text, int max_columns) {
  constexpr std::string_view kCut = "...";
  // Combining marks take no column; this keeps a heap of them short.
  const std::size_t max_bytes = 4 * static_cast<std::size_t>(max_columns);
  const int room = max_columns - static_cast<int>(kCut.size());
  std::string out;
  std::size_t cut_at = 0;  // where the text still leaves room for kCut
  int width = 0;
  while (!text.empty()) {
    const Character next = first_character(text);
    const bool visible = next.valid && !is_hidden(next.value);
    const std::string piece =
        visible ? std::string(text.substr(0, next.bytes)) : escaped(next);
    width += visible ? column_width(next.value) : display_width(piece);
    if (width > max_columns || out.size() + piece.size() > max_bytes) {
      return out.substr(0, cut_at).append(kCut);
    }
    out += piece;
    if (width <= room) cut_at = out.size();
    text.remove_prefix(next.bytes);
  }
  return out;
}

std::string colored(const TextStyle& style, Color color,
                    std::string_view text) {
  constexpr std::array<int, 5> kCodes{31, 33, 32, 1, 2};
  if (!style.color || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m",
                     kCodes[static_cast<std::size_t>(color)], text);
}

std::string_view bad_mark(const TextStyle& style) {
  return style.unicode ? "✗" : "!";
}

std::string table_text(const Table& table) {
  const std::vector<int> widths = column_widths(table);
  std::vector<std::string> titles;
  bool titled = false;
  for (const Column& column : table.columns) {
    titles.push_back(column.title);
    titled = titled || !column.title.empty();
  }
  std::string text = titled ? line(table, widths, titles) : "";
  for (const auto& row : table.rows) text += line(table, widths, row);
  return text;
}

std::string joined(const std::vector<std::string>& parts,
                   std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) text += separator;
    text += part;
  }
  return text;
}

std::string counted(std::int64_t count, std::string_view noun) {
  const std::string number = count == 0 ? "no" : count_text(count);
  return fmt::format("{} {}{}", number, noun, count == 1 ? "" : "s");
}

std::string ranges_text(const std::vector<std::int64_t>& numbers,
                        std::string_view separator) {
  std::vector<std::string> parts;
  for (std::size_t first = 0; first < numbers.size();) {
    std::size_t last = first;
    while (last + 1 < numbers.size() &&
           numbers[last + 1] - 1 == numbers[last]) {
      ++last;
    }
    parts.push_back(first == last
                        ? fmt::format("{}", numbers[first])
                        : fmt::format("{}-{}", numbers[first], numbers[last]));
    first = last + 1;
  }
  return joined(parts, separator);
}

}  // namespace kvtape
