// The picture of a diff: a cell for each head of each layer, and the errors of
// the worst head over the positions.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "report/diff.h"
#include "report/numbers.h"
#include "report/svg.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr double kLeft = 60;
constexpr double kTop = 92;
constexpr double kBetween = 70;  // panels; the layers stand there
constexpr double kStrip = 110;   // height of the errors over positions
constexpr double kLowest = -7;   // decades of the scale, always the same
constexpr double kHighest = 0;

// One step per decade, light to dark.
constexpr std::array<std::string_view, 8> kShades{
    "#e6eef8", "#c9daf0", "#a3bfe3", "#769dd1",
    "#4c78ba", "#31559b", "#22367a", "#130f48"};
constexpr std::string_view kExact = "#f4f4f4";
constexpr std::string_view kBad = "#d00000";

std::size_t shade_number(double error) {
  const double decade = std::clamp(log10_of(error), kLowest, kHighest);
  return static_cast<std::size_t>(std::floor(decade - kLowest));
}

std::string_view shade_of(const DiffStats& stats) {
  if (stats.max_abs == 0) return kExact;
  return std::isfinite(stats.max_abs) ? kShades[shade_number(stats.max_abs)]
                                      : kShades.back();
}

/// Where everything stands.
struct Plan {
  std::vector<std::int64_t> layers;
  std::int64_t first_head = 0;
  std::int64_t heads = 1;
  Point cell;
  std::map<std::int64_t, std::string> gaps;  // of layers, and why

  double panel_width() const { return cell.x * static_cast<double>(heads); }
  double panel_height() const {
    return cell.y * static_cast<double>(layers.size());
  }
  double panel_left(TensorKind kind) const {
    return kind == TensorKind::kKey ? kLeft : kLeft + panel_width() + kBetween;
  }
  double strip_top() const { return kTop + panel_height() + 66; }
  double width() const {
    return std::max(800.0, panel_left(TensorKind::kValue) + panel_width() + 30);
  }
  double height() const { return strip_top() + kStrip + 46; }
};

// "/layers/7/key" is of layer 7.
std::optional<std::int64_t> layer_of(const std::string& object) {
  constexpr std::string_view kLayers = "/layers/";
  if (!object.starts_with(kLayers)) return std::nullopt;
  std::int64_t number = 0;
  std::size_t at = kLayers.size();
  for (; at < object.size() && object[at] >= '0' && object[at] <= '9'; ++at)
    number = std::min<std::int64_t>(number * 10 + (object[at] - '0'), 1 << 20);
  return at > kLayers.size() ? std::optional(number) : std::nullopt;
}

Plan plan_of(const DiffReport& report) {
  Plan plan;
  std::set<std::int64_t> layers;
  std::int64_t last = 0;
  plan.first_head = report.cells.empty() ? 0 : report.cells.front().head;
  for (const DiffCell& cell : report.cells) {
    layers.insert(cell.layer);
    plan.first_head = std::min(plan.first_head, cell.head);
    last = std::max(last, cell.head);
  }
  for (const DiffGap& gap : report.not_compared)
    if (const auto layer = layer_of(gap.object)) {
      layers.insert(*layer);
      plan.gaps.emplace(*layer, gap.reason);
    }
  plan.layers.assign(layers.begin(), layers.end());
  plan.heads = last - plan.first_head + 1;
  const auto side = [](double room, double count) {
    return std::clamp(std::floor(room / count), 6.0, 22.0);
  };
  plan.cell = {side(420, static_cast<double>(plan.heads)),
               side(640, static_cast<double>(plan.layers.size()) + 1)};
  return plan;
}

std::string cell_title(const DiffCell& cell) {
  const DiffStats& s = cell.stats;
  std::string text = fmt::format(
      "layer {} {} head {}: max error {}, {} of {} "
      "out of tolerance",
      cell.layer, name(cell.kind), cell.head, error_text(s.max_abs, 3),
      count_text(s.mismatched), count_text(s.compared));
  if (cell.first_bad)
    text += fmt::format(", first at position {}", *cell.first_bad);
  if (s.non_finite_mismatched > 0)
    text += fmt::format(", {} not finite", count_text(s.non_finite_mismatched));
  return text;
}

void add_cell(Svg& svg, const Plan& plan, const DiffCell& cell, Point corner) {
  const bool bad = cell.stats.mismatched > 0;
  const Point size{plan.cell.x - 1, plan.cell.y - 1};
  if (!bad) {
    add_rect(svg, corner, size,
             fmt::format("fill=\"{}\"", shade_of(cell.stats)),
             cell_title(cell));
    return;
  }
  add_rect(svg, {corner.x + 0.5, corner.y + 0.5}, {size.x - 1, size.y - 1},
           fmt::format("fill=\"{}\" stroke=\"{}\" stroke-width=\"1.6\"",
                       shade_of(cell.stats), kBad),
           cell_title(cell));
  if (cell.stats.non_finite_mismatched == 0) return;
  const std::string ink = fmt::format("stroke=\"{}\"", kBad);
  add_line(svg, corner, {corner.x + size.x, corner.y + size.y}, ink);
  add_line(svg, {corner.x + size.x, corner.y}, {corner.x, corner.y + size.y},
           ink);
}

void add_layer_names(Svg& svg, const Plan& plan, TensorKind kind) {
  const std::size_t every = plan.cell.y >= 12 ? 1 : 5;
  for (std::size_t i = 0; i < plan.layers.size(); i += every)
    add_text(svg,
             {plan.panel_left(kind) - 8,
              kTop + plan.cell.y * (static_cast<double>(i) + 0.5) + 4},
             fmt::format("{}", plan.layers[i]), "text-anchor=\"end\"");
}

void add_head_names(Svg& svg, const Plan& plan, TensorKind kind) {
  const std::int64_t every = plan.cell.x >= 18 ? 1 : plan.cell.x >= 9 ? 4 : 8;
  for (std::int64_t head = 0; head < plan.heads; head += every)
    add_text(svg,
             {plan.panel_left(kind) +
                  plan.cell.x * (static_cast<double>(head) + 0.5),
              kTop - 6},
             fmt::format("{}", plan.first_head + head),
             "text-anchor=\"middle\" font-size=\"10\"");
}

void add_panel(Svg& svg, const Plan& plan, const DiffReport& report,
               TensorKind kind) {
  const double left = plan.panel_left(kind);
  add_text(svg, {left, kTop - 24},
           fmt::format("{}: layers down, heads across", name(kind)),
           "font-weight=\"bold\"");
  add_layer_names(svg, plan, kind);
  add_head_names(svg, plan, kind);
  std::map<std::int64_t, std::size_t> lines;
  for (std::size_t i = 0; i < plan.layers.size(); ++i)
    lines.emplace(plan.layers[i], i);
  std::set<std::int64_t> seen;
  for (const DiffCell& cell : report.cells) {
    if (cell.kind != kind) continue;
    seen.insert(cell.layer);
    add_cell(
        svg, plan, cell,
        {left + plan.cell.x * static_cast<double>(cell.head - plan.first_head),
         kTop + plan.cell.y * static_cast<double>(lines.at(cell.layer))});
  }
  for (const auto& [layer, line] : lines) {
    if (seen.contains(layer)) continue;
    const auto gap = plan.gaps.find(layer);
    add_rect(svg, {left, kTop + plan.cell.y * static_cast<double>(line)},
             {plan.panel_width() - 1, plan.cell.y - 1}, "fill=\"url(#absent)\"",
             fmt::format("layer {} {}: not compared{}", layer, name(kind),
                         gap == plan.gaps.end() ? "" : ", " + gap->second));
  }
}

// ---- legend

void add_legend(Svg& svg, const Plan& plan) {
  const double top = kTop + plan.panel_height() + 14;
  double x = kLeft;
  const auto word = [&](std::string_view text) {
    add_text(svg, {x, top + 11}, text, "font-size=\"11\"");
    x += 7.0 * static_cast<double>(text.size()) + 14;
  };
  add_rect(svg, {x, top}, {14, 14},
           fmt::format("fill=\"{}\" stroke=\"#ccc\"", kExact));
  x += 19;
  word("exact");
  for (std::size_t i = 0; i < kShades.size(); ++i) {
    add_rect(svg, {x, top}, {30, 14}, fmt::format("fill=\"{}\"", kShades[i]));
    add_text(
        svg, {x, top + 27},
        fmt::format("1e{}", static_cast<int>(kLowest) + static_cast<int>(i)),
        "font-size=\"10\"");
    x += 30;
  }
  x += 14;
  add_rect(
      svg, {x, top}, {14, 14},
      fmt::format("fill=\"#fff\" stroke=\"{}\" stroke-width=\"1.6\"", kBad));
  x += 19;
  word("out of tolerance");
  const std::string ink = fmt::format("stroke=\"{}\"", kBad);
  add_line(svg, {x, top}, {x + 14, top + 14}, ink);
  add_line(svg, {x + 14, top}, {x, top + 14}, ink);
  x += 19;
  word("NaN or Inf");
  add_rect(svg, {x, top}, {14, 14}, "fill=\"url(#absent)\"");
  x += 19;
  word("not compared");
}

// ---- the worst head

double strip_y(const Plan& plan, double error) {
  const double bottom = plan.strip_top() + kStrip;
  if (error == 0) return bottom;
  const double decade = std::isfinite(error)
                            ? std::clamp(log10_of(error), kLowest, kHighest)
                            : kHighest;
  return bottom - 8 - (kStrip - 8) * (decade - kLowest) / (kHighest - kLowest);
}

void add_strip_axes(Svg& svg, const Plan& plan, double right,
                    std::int64_t positions) {
  const double bottom = plan.strip_top() + kStrip;
  for (const int decade : {-6, -4, -2, 0}) {
    const double y = strip_y(plan, std::pow(10.0, decade));
    add_line(svg, {kLeft, y}, {right, y}, "stroke=\"#e4e4e4\"");
    add_text(svg, {kLeft - 8, y + 4}, fmt::format("1e{}", decade),
             "text-anchor=\"end\" font-size=\"10\"");
  }
  add_line(svg, {kLeft, bottom}, {right, bottom}, "stroke=\"#888\"");
  add_text(svg, {kLeft, bottom + 16}, "0", "font-size=\"10\"");
  add_text(svg, {right, bottom + 16}, fmt::format("{}", positions),
           "text-anchor=\"end\" font-size=\"10\"");
  add_text(svg, {(kLeft + right) / 2, bottom + 16}, "position",
           "text-anchor=\"middle\"");
}

// Wide bars stand apart.
double bar_width(double room) {
  return room > 4 ? room - 1 : std::max(room, 0.7);
}

void add_strip(Svg& svg, const Plan& plan, const DiffReport& report) {
  if (report.worst_head.empty() || !report.worst) return;
  const double right = plan.width() - 30;
  const auto positions = static_cast<double>(report.worst_head.back().last);
  add_text(svg, {kLeft, plan.strip_top() - 8},
           fmt::format("max error over the positions: layer {} {} head {}, the "
                       "worst",
                       report.worst->layer, name(report.worst->kind),
                       report.worst->head),
           "font-weight=\"bold\"");
  add_strip_axes(svg, plan, right, report.worst_head.back().last);
  const auto x_of = [&](std::int64_t position) {
    return kLeft + (right - kLeft) * static_cast<double>(position) / positions;
  };
  for (const DiffBand& band : report.worst_head) {
    const DiffStats& stats = band.stats;
    const bool wild = stats.non_finite_mismatched > 0;
    if (stats.max_abs == 0 && !wild) continue;
    const double y = strip_y(plan, wild ? 1.0 : stats.max_abs);
    const double x = x_of(band.first);
    add_rect(
        svg, {x, y},
        {bar_width(x_of(band.last) - x), plan.strip_top() + kStrip - y},
        fmt::format("fill=\"{}\"", stats.mismatched > 0 ? kBad : kShades[4]),
        fmt::format("position {}: {}", band.first,
                    wild ? "not finite" : error_text(stats.max_abs, 3)));
  }
}

}  // namespace

std::string diff_svg(const DiffReport& report, const DiffNames& names) {
  const Plan plan = plan_of(report);
  const std::string title =
      fmt::format("kvtape diff {} {}", names.expected, names.actual);
  Svg svg{.width = static_cast<int>(std::ceil(plan.width())),
          .height = static_cast<int>(std::ceil(plan.height())),
          .body =
              "<defs><pattern id=\"absent\" width=\"6\" height=\"6\" "
              "patternUnits=\"userSpaceOnUse\"><path d=\"M0 6L6 0\" "
              "stroke=\"#999\"/></pattern></defs>\n"};
  add_text(svg, {kLeft, 22}, title, "font-size=\"15\" font-weight=\"bold\"");
  add_text(svg, {kLeft, 42},
           fmt::format("{}; max |actual - expected|; {}", outcome_text(report),
                       rule_text(report)));
  add_panel(svg, plan, report, TensorKind::kKey);
  add_panel(svg, plan, report, TensorKind::kValue);
  add_legend(svg, plan);
  add_strip(svg, plan, report);
  return svg_text(svg, title);
}

}  // namespace kvtape
