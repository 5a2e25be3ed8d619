// Text for people: names made safe, columns, colour, marks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "report/style.h"

namespace kvtape {

/// A name or message that came from a file or the command line, safe to print:
/// hidden characters as \xNN, \uNNNN or \UNNNNNNNN, invalid bytes as \xNN, the
/// rest as it is; cut with "..." at `max_columns`.
std::string printable(std::string_view text, int max_columns = 200);

enum class Color { kRed, kYellow, kGreen, kBold, kDim };
std::string colored(const TextStyle& style, Color color, std::string_view text);

/// Marks what is out of tolerance: "✗", or "!".
std::string_view bad_mark(const TextStyle& style);

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

/// Rows may be shorter than `columns`; a table without titles has no head.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

/// Columns two blanks apart, each line indented by two and without blanks at
/// its end.
std::string table_text(const Table& table);

std::string joined(const std::vector<std::string>& parts,
                   std::string_view separator = ", ");

/// "no errors", "1 error", "2 errors".
std::string counted(std::int64_t count, std::string_view noun);

/// "0-4, 6, 8-10" of ascending numbers.
std::string ranges_text(const std::vector<std::int64_t>& numbers,
                        std::string_view separator = ", ");

}  // namespace kvtape
