// The map of a diff on a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "report/diff.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::size_t kShownLayers = 24;

// From the best to the worst.
enum Shade { kExact, kTiny, kSmall, kMiddle, kInside, kOut, kNotFinite };
constexpr std::array<std::string_view, 7> kBlocks{"0", "·", "░", "▒",
                                                  "▓", "█", "N"};
constexpr std::array<std::string_view, 7> kAscii{"0", ".", ":", "+",
                                                 "*", "#", "N"};

Shade shade_of(const DiffStats& stats) {
  if (stats.non_finite_mismatched > 0) return kNotFinite;
  if (stats.mismatched > 0) return kOut;
  if (stats.max_abs == 0) return kExact;
  if (stats.max_abs < 1e-6) return kTiny;
  if (stats.max_abs < 1e-5) return kSmall;
  return stats.max_abs < 1e-4 ? kMiddle : kInside;
}

/// Heads of one layer, keys or values.
struct Line {
  std::int64_t layer = 0;
  std::vector<const DiffCell*> cells;

  bool bad() const {
    return std::any_of(cells.begin(), cells.end(), [](const DiffCell* cell) {
      return cell->stats.mismatched > 0;
    });
  }
};

std::vector<Line> lines_of(const DiffReport& report, TensorKind kind) {
  std::vector<Line> lines;
  for (const DiffCell& cell : report.cells) {
    if (cell.kind != kind) continue;
    if (lines.empty() || lines.back().layer != cell.layer)
      lines.push_back({.layer = cell.layer});
    lines.back().cells.push_back(&cell);
  }
  return lines;
}

std::string_view sign_of(Shade shade, const TextStyle& style) {
  return style.unicode ? kBlocks[shade] : kAscii[shade];
}

// A head takes two columns, or one, or shares one with its neighbours.
std::string cells_text(const Line& line, std::size_t columns,
                       const TextStyle& style) {
  const std::size_t heads = line.cells.size();
  const std::size_t share = (heads + columns - 1) / columns;
  const bool wide = 2 * heads <= columns;
  std::string text;
  for (std::size_t first = 0; first < heads; first += share) {
    Shade worst = kExact;
    for (std::size_t i = first; i < std::min(first + share, heads); ++i)
      worst = std::max(worst, shade_of(line.cells[i]->stats));
    for (int times = 0; times < (wide ? 2 : 1); ++times)
      text += sign_of(worst, style);
  }
  return text;
}

double largest_error(const Line& line) {
  double largest = 0;
  for (const DiffCell* cell : line.cells) {
    if (cell->stats.non_finite_mismatched > 0)
      return std::numeric_limits<double>::quiet_NaN();
    largest = std::max(largest, cell->stats.max_abs);
  }
  return largest;
}

std::string line_text(const Line& line, std::size_t columns,
                      const TextStyle& style) {
  const std::string text = fmt::format(
      "   layer {:>3} {}{}{} {}", line.layer, style.unicode ? "▕" : "|",
      cells_text(line, columns, style), style.unicode ? "▏" : "|",
      error_text(largest_error(line), style.precision));
  if (!line.bad()) return text + '\n';
  return fmt::format("{} {}\n", text,
                     colored(style, Color::kRed, bad_mark(style)));
}

// Bad layers and one before each, so far as they fit.
std::vector<std::size_t> shown_lines(const std::vector<Line>& lines,
                                     const TextStyle& style) {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool near =
        lines[i].bad() || (i + 1 < lines.size() && lines[i + 1].bad());
    const bool all = style.verbosity > 0 || lines.size() <= kShownLayers;
    if (all || (near && shown.size() < kShownLayers)) shown.push_back(i);
  }
  return shown;
}

std::string panel(const DiffReport& report, TensorKind kind,
                  const TextStyle& style) {
  const std::vector<Line> lines = lines_of(report, kind);
  if (lines.empty()) return "";
  const auto columns = static_cast<std::size_t>(std::max(16, style.width - 30));
  const std::vector<std::size_t> shown = shown_lines(lines, style);
  std::string text = fmt::format(
      "\n  {}: max |actual - expected|, heads {} to {}\n", name(kind),
      lines.front().cells.front()->head, lines.front().cells.back()->head);
  for (const std::size_t i : shown) text += line_text(lines[i], columns, style);
  if (shown.empty())
    text += fmt::format("   all {} layers in tolerance (-v for all)\n",
                        lines.size());
  else if (shown.size() < lines.size())
    text += fmt::format("   ... {} more layers (-v for all)\n",
                        lines.size() - shown.size());
  return text;
}

}  // namespace

std::string diff_map(const DiffReport& report, const TextStyle& style) {
  const auto sign = [&](Shade shade) { return sign_of(shade, style); };
  return panel(report, TensorKind::kKey, style) +
         panel(report, TensorKind::kValue, style) +
         fmt::format(
             "   {} exact  {} <1e-6  {} <1e-5  {} <1e-4  {} in tolerance  "
             "{} out  {} non-finite\n",
             sign(kExact), sign(kTiny), sign(kSmall), sign(kMiddle),
             sign(kInside), sign(kOut), sign(kNotFinite));
}

}  // namespace kvtape
