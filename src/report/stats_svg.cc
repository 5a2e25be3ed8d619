// The picture of statistics: a small histogram for each row, keys and values
// each on one axis, so that they compare.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "report/numbers.h"
#include "report/stats.h"
#include "report/svg.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr double kLeft = 30;
constexpr double kTop = 84;
constexpr double kCellWidth = 150;
constexpr double kCellHeight = 54;
constexpr double kGap = 14;
constexpr std::size_t kAcross = 6;
constexpr double kBars = 34;  // height of the largest

/// Of all rows of a kind.
struct Axis {
  double min = 0;
  double max = 0;
};

Axis axis_of(const std::vector<const StatsRow*>& rows) {
  Axis axis;
  for (const StatsRow* row : rows) {
    axis.min = std::min(axis.min, row->min);
    axis.max = std::max(axis.max, row->max);
  }
  if (axis.max == axis.min) axis.max = axis.min + 1;
  return axis;
}

std::string title_of(const StatsRow& row) {
  const std::string head = row.head ? fmt::format(" head {}", *row.head) : "";
  return fmt::format(
      "layer {} {}{}: mean {:.4g}, std {:.4g}, from {:.4g} to {:.4g}, {} zero, "
      "{} NaN, {} Inf",
      row.layer, name(row.kind), head, row.mean, row.std, row.min, row.max,
      count_text(row.zeros), count_text(row.nan), count_text(row.inf));
}

bool stands_out(const StatsReport& report, const StatsRow& row) {
  return std::any_of(
      report.findings.begin(), report.findings.end(),
      [&](const StatsFinding& finding) {
        return finding.layer == row.layer && finding.kind == row.kind &&
               (!row.head || !finding.head || *row.head == *finding.head);
      });
}

void add_bars(Svg& svg, const StatsRow& row, const Axis& axis, Point corner,
              std::string_view color) {
  const auto x_of = [&](double value) {
    return corner.x + kCellWidth * (value - axis.min) / (axis.max - axis.min);
  };
  const auto most = static_cast<double>(
      *std::max_element(row.histogram.begin(), row.histogram.end()));
  const double width =
      (row.max - row.min) / static_cast<double>(row.histogram.size());
  for (std::size_t i = 0; i < row.histogram.size(); ++i) {
    if (row.histogram[i] == 0) continue;
    const double height =
        std::max(1.0, kBars * static_cast<double>(row.histogram[i]) / most);
    const double x = x_of(row.min + width * static_cast<double>(i));
    const double next = x_of(row.min + width * static_cast<double>(i + 1));
    add_rect(svg, {x, corner.y + kBars - height},
             {std::max(next - x, 0.8), height},
             fmt::format("fill=\"{}\"", color), title_of(row));
  }
}

void add_cell(Svg& svg, const StatsReport& report, const StatsRow& row,
              const Axis& axis, Point corner) {
  const bool bad = stands_out(report, row);
  add_rect(svg, {corner.x - 4, corner.y - 14},
           {kCellWidth + 8, kCellHeight + 2},
           bad ? "fill=\"#fff4f4\" stroke=\"#d00000\""
               : "fill=\"#fafafa\" stroke=\"#e4e4e4\"",
           title_of(row));
  const std::string head = row.head ? fmt::format(" head {}", *row.head) : "";
  add_text(svg, {corner.x, corner.y - 2},
           fmt::format("layer {}{}{}", row.layer, head, bad ? " !" : ""),
           "font-size=\"10\"");
  if (!row.histogram.empty())
    add_bars(svg, row, axis, corner, bad ? "#a00000" : "#4c78ba");
  add_line(svg, {corner.x, corner.y + kBars},
           {corner.x + kCellWidth, corner.y + kBars}, "stroke=\"#888\"");
}

// Returns where the next panel begins.
double add_panel(Svg& svg, const StatsReport& report, TensorKind kind,
                 double top) {
  std::vector<const StatsRow*> rows;
  for (const StatsRow& row : report.rows)
    if (row.kind == kind && !row.positions && !row.channel)
      rows.push_back(&row);
  if (rows.empty()) return top;
  const Axis axis = axis_of(rows);
  add_text(svg, {kLeft, top},
           fmt::format("{}: each from {:.4g} to {:.4g}", name(kind), axis.min,
                       axis.max),
           "font-weight=\"bold\"");
  for (std::size_t i = 0; i < rows.size(); ++i)
    add_cell(
        svg, report, *rows[i], axis,
        {kLeft + static_cast<double>(i % kAcross) * (kCellWidth + kGap),
         top + 28 + static_cast<double>(i / kAcross) * (kCellHeight + kGap)});
  const auto lines = static_cast<double>((rows.size() + kAcross - 1) / kAcross);
  return top + 28 + lines * (kCellHeight + kGap) + 16;
}

}  // namespace

std::string stats_svg(const StatsReport& report, const std::string& file) {
  const std::string title = "kvtape stats " + file;
  Svg svg{.width = static_cast<int>(
              kLeft + static_cast<double>(kAcross) * (kCellWidth + kGap) + 20),
          .height = 0,
          .body = ""};
  add_text(svg, {kLeft, 22}, title, "font-size=\"15\" font-weight=\"bold\"");
  add_text(svg, {kLeft, 42},
           report.findings.empty()
               ? "how often numbers occur; nothing catches the eye"
               : fmt::format("how often numbers occur; {} that may be wrong",
                             counted(std::ssize(report.findings), "thing")));
  const double values = add_panel(svg, report, TensorKind::kKey, kTop - 16);
  svg.height =
      static_cast<int>(add_panel(svg, report, TensorKind::kValue, values)) + 10;
  return svg_text(svg, title);
}

}  // namespace kvtape
