// The picture of a replay: error against step.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "report/numbers.h"
#include "report/replay.h"
#include "report/replay_outcome.h"
#include "report/sparkline.h"
#include "report/svg.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr int kWidth = 800;
constexpr int kHeight = 440;
constexpr double kLeft = 70;
constexpr double kRight = 640;  // the legend stands beyond
constexpr double kTop = 64;
constexpr double kFloor = 392;           // where an error of exactly 0 is drawn
constexpr double kBottom = 370;          // of the lowest decade
constexpr double kAbove = 50;            // where NaN and infinity are marked
constexpr std::size_t kMaxPoints = 570;  // per line: one per unit of width
constexpr std::size_t kNamedLayers = 8;  // more share one legend entry
constexpr int kLowestDecade = -8;        // the same in every picture, unless
constexpr int kHighestDecade = 0;        // the data go beyond

/// Decades of the error axis and steps of the other.
struct Axes {
  int low = kLowestDecade;
  int high = kHighestDecade;
  std::size_t steps = 0;
};

void extend(Axes& axes, double error) {
  if (!(error > 0) || !std::isfinite(error)) return;
  const double decade = log10_of(error);
  axes.low = std::min(axes.low, static_cast<int>(std::floor(decade)));
  axes.high = std::max(axes.high, static_cast<int>(std::ceil(decade)));
}

// The tolerance depends on the expected value; the rule across is drawn where
// it matters most.
std::optional<double> ruling_tolerance(const ReplayReport& report) {
  const auto& point = report.first ? report.first : report.worst;
  if (!point || !std::isfinite(point->allowed) || point->allowed < 0) return {};
  return point->allowed;
}

Axes axes_of(const ReplayReport& report) {
  Axes axes;
  axes.steps = report.by_step.size();
  for (const auto& layer : report.errors) {
    for (const double error : layer) extend(axes, error);
  }
  if (const auto rule = ruling_tolerance(report)) extend(axes, *rule);
  return axes;
}

double x_of(const Axes& axes, double step) {
  if (axes.steps < 2) return (kLeft + kRight) / 2;
  return kLeft + (kRight - kLeft) * step / static_cast<double>(axes.steps - 1);
}

double y_of_decade(const Axes& axes, double decade) {
  return kBottom - (kBottom - kTop) * (decade - axes.low) /
                       static_cast<double>(axes.high - axes.low);
}

double y_of(const Axes& axes, double error) {
  return error == 0 ? kFloor : y_of_decade(axes, log10_of(error));
}

// 1, 2, 5, 10, 20, ...: so that at most ten ticks are drawn.
std::size_t tick_distance(std::size_t steps) {
  std::size_t distance = 1;
  for (int round = 0; steps / distance > 10; ++round) {
    distance = round % 3 == 1 ? distance / 2 * 5 : distance * 2;
  }
  return distance;
}

void add_error_axis(Svg& svg, const Axes& axes) {
  const int distance = 1 + (axes.high - axes.low) / 14;
  for (int decade = axes.low; decade <= axes.high; decade += distance) {
    const double y = y_of_decade(axes, decade);
    add_line(svg, {kLeft, y}, {kRight, y}, "stroke=\"#e4e4e4\"");
    add_text(svg, {kLeft - 8, y + 4}, fmt::format("1e{}", decade),
             "text-anchor=\"end\"");
  }
  add_line(svg, {kLeft, kFloor}, {kRight, kFloor}, "stroke=\"#888\"");
  add_text(svg, {kLeft - 8, kFloor + 4}, "0", "text-anchor=\"end\"");
  add_text(svg, {18, (kTop + kBottom) / 2}, "max |actual - expected|",
           fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 18 "
                       "{:.0f})\"",
                       (kTop + kBottom) / 2));
}

void add_step_axis(Svg& svg, const Axes& axes, const ReplayReport& report) {
  const std::size_t distance = tick_distance(axes.steps);
  for (std::size_t step = 0; step < axes.steps; step += distance) {
    const double x = x_of(axes, static_cast<double>(step));
    add_line(svg, {x, kFloor}, {x, kFloor + 5}, "stroke=\"#888\"");
    add_text(svg, {x, kFloor + 19},
             fmt::format("{}", report.by_step[step].number),
             "text-anchor=\"middle\"");
  }
  add_text(svg, {(kLeft + kRight) / 2, kFloor + 40}, "step",
           "text-anchor=\"middle\"");
}

bool is_worst(const ReplayReport& report, std::size_t layer) {
  return report.worst && layer < report.by_layer.size() &&
         report.by_layer[layer].number == report.worst->layer;
}

// Light for the first layer, dark for the last: an order that survives grey
// paper; few layers differ in their dashes as well.
std::string stroke(const ReplayReport& report, std::size_t layer) {
  if (is_worst(report, layer)) {
    return "stroke=\"#a00000\" stroke-width=\"2.5\" stroke-linejoin=\"round\"";
  }
  constexpr std::array kDashes{"", "6 2", "2 2", "8 2 2 2"};
  const std::size_t layers = report.errors.size();
  const std::size_t light =
      160 - 110 * layer / std::max<std::size_t>(1, layers - 1);
  const std::string_view dash =
      layers <= kNamedLayers ? kDashes[layer % kDashes.size()] : "";
  return fmt::format(
      "stroke=\"#{0:02x}{0:02x}{1:02x}\"{2}", light, light + 40,
      dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dash));
}

std::string layer_title(const ReplayReport& report, std::size_t layer) {
  if (layer >= report.by_layer.size()) return "";
  const ReplayRow& row = report.by_layer[layer];
  return fmt::format("layer {}: worst {} at step {}", row.number,
                     error_text(row.worst.abs_error, 3), row.worst.step);
}

// A run of finite errors; a single one becomes a short dash.
void add_run(Svg& svg, std::vector<Point>& run, std::string_view title,
             std::string_view attributes) {
  if (run.size() == 1) {
    const Point only = run.front();
    run = {{only.x - 3, only.y}, {only.x + 3, only.y}};
  }
  if (!run.empty()) add_polyline(svg, run, title, attributes);
  run.clear();
}

void add_layer(Svg& svg, const Axes& axes, const ReplayReport& report,
               std::size_t layer) {
  const std::vector<double> groups =
      largest_of_groups(report.errors[layer], kMaxPoints);
  const double width = static_cast<double>(report.errors[layer].size()) /
                       static_cast<double>(groups.size());  // steps in a group
  const std::string attributes = "fill=\"none\" " + stroke(report, layer);
  const std::string title = layer_title(report, layer);
  std::vector<Point> run;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const double middle = (static_cast<double>(group) + 0.5) * width - 0.5;
    const double x = x_of(axes, middle);
    if (std::isfinite(groups[group])) {
      run.push_back({x, y_of(axes, groups[group])});
      continue;
    }
    add_run(svg, run, title, attributes);
    add_text(svg, {x, kAbove + 4}, std::isnan(groups[group]) ? "NaN" : "inf",
             "text-anchor=\"middle\" font-weight=\"bold\" fill=\"#a00000\"");
  }
  add_run(svg, run, title, attributes);
}

void add_tolerance(Svg& svg, const Axes& axes, const ReplayReport& report) {
  const auto rule = ruling_tolerance(report);
  if (!rule) return;
  const double y = y_of(axes, *rule);
  add_line(svg, {kLeft, y}, {kRight, y},
           "stroke=\"#000\" stroke-dasharray=\"10 4\"");
  add_text(svg, {kRight + 6, y + 4},
           fmt::format("allowed {}", error_text(*rule, 2)));
  add_text(svg, {kRight + 6, y + 18},
           report.first ? "(where first exceeded)" : "(at the worst value)",
           "font-size=\"10\"");
}

void add_first_failure(Svg& svg, const Axes& axes, const ReplayReport& report) {
  const auto& rows = report.by_step;
  if (!report.first) return;
  const auto row = std::find_if(
      rows.begin(), rows.end(),
      [&](const auto& each) { return each.number == report.first->step; });
  if (row == rows.end()) return;
  const double x =
      x_of(axes, static_cast<double>(std::distance(rows.begin(), row)));
  const bool left_half = x < (kLeft + kRight) / 2;
  add_line(svg, {x, kTop}, {x, kFloor},
           "stroke=\"#000\" stroke-dasharray=\"2 3\"");
  add_text(svg, {left_half ? x + 6 : x - 6, kTop + 14},
           fmt::format("first out of tolerance: step {}", report.first->step),
           left_half ? "" : "text-anchor=\"end\"");
}

// The legend stands at the top, or below the words at the tolerance.
double legend_top(const Axes& axes, const ReplayReport& report) {
  constexpr double kTallest = 170;
  const double rule = y_of(axes, ruling_tolerance(report).value_or(0));
  return rule < kTop + kTallest ? rule + 40 : kTop + 10;
}

void add_legend(Svg& svg, const Axes& axes, const ReplayReport& report) {
  const std::size_t layers =
      std::min(report.errors.size(), report.by_layer.size());
  const bool each = layers <= kNamedLayers;
  double y = legend_top(axes, report);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const bool end = layer == 0 || layer + 1 == layers;
    const bool worst = is_worst(report, layer);
    if (!each && !end && !worst) continue;
    add_line(svg, {kRight + 14, y}, {kRight + 44, y}, stroke(report, layer));
    add_text(svg, {kRight + 50, y + 4},
             fmt::format("layer {}{}", report.by_layer[layer].number,
                         worst ? " (worst)" : ""));
    y += 18;
  }
}

std::string summary(const ReplayReport& report) {
  return fmt::format("{}; {} compared (rtol {}, atol {})",
                     replay_outcome(report), counted(report.compared, "value"),
                     setting_text(report.tolerance.rtol),
                     setting_text(report.tolerance.atol));
}

}  // namespace

std::string replay_svg(const ReplayReport& report, const std::string& file) {
  const Axes axes = axes_of(report);
  const std::string title = "kvtape replay " + file;
  Svg svg{.width = kWidth, .height = kHeight, .body = ""};
  add_text(svg, {kLeft, 20}, title, "font-size=\"15\" font-weight=\"bold\"");
  add_text(svg, {kLeft, 38}, summary(report));
  add_error_axis(svg, axes);
  add_step_axis(svg, axes, report);
  std::size_t worst = report.errors.size();
  for (std::size_t layer = 0; layer < report.errors.size(); ++layer) {
    if (is_worst(report, layer))
      worst = layer;
    else
      add_layer(svg, axes, report, layer);
  }
  if (worst < report.errors.size()) add_layer(svg, axes, report, worst);
  add_tolerance(svg, axes, report);
  add_first_failure(svg, axes, report);
  add_legend(svg, axes, report);
  return svg_text(svg, title);
}

}  // namespace kvtape
