// The name that somebody may have meant.
#include "cli/suggest.h"

#include <algorithm>
#include <vector>

namespace kvtape::cli {

int edit_distance(std::string_view first, std::string_view second) {
  // rows[i][j]: distance of the first i and the first j letters.
  std::vector rows(first.size() + 1, std::vector<int>(second.size() + 1));
  for (std::size_t i = 0; i <= first.size(); ++i) {
    for (std::size_t j = 0; j <= second.size(); ++j) {
      int& cell = rows[i][j];
      if (i == 0 || j == 0) {
        cell = static_cast<int>(i + j);
        continue;
      }
      const int substituted = first[i - 1] == second[j - 1] ? 0 : 1;
      cell = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1,
                       rows[i - 1][j - 1] + substituted});
      if (i > 1 && j > 1 && first[i - 1] == second[j - 2] &&
          first[i - 2] == second[j - 1])
        cell = std::min(cell, rows[i - 2][j - 2] + 1);
    }
  }
  return rows.back().back();
}

std::string suggestion(std::string_view typed,
                       std::span<const std::string_view> names) {
  constexpr std::size_t kLongest = 64;  // the table grows with the square
  if (typed.size() > kLongest) return "";
  // A word of which nothing is left is no suggestion.
  int nearest = std::min(4, static_cast<int>(typed.size()));
  std::string_view meant;
  for (const std::string_view name : names) {
    const int distance = edit_distance(typed, name);
    if (distance >= nearest) continue;
    nearest = distance;
    meant = name;
  }
  if (meant.empty()) return "";
  return "did you mean '" + std::string(meant) + "'?";
}

}  // namespace kvtape::cli
