// Replay reports as text.
#include "report/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "report/findings.h"
#include "report/numbers.h"
#include "report/sparkline.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::ptrdiff_t kShownBefore = 2;  // steps before the first bad one
constexpr std::size_t kShownSteps = 8;

bool is_bad(const ReplayRow& row) { return row.out_of_tolerance > 0; }

// A recorded tensor that could not be compared has a reason and no count.
bool is_uncompared(const FinalComparison& comparison) {
  return comparison.differing == 0 && !comparison.first.empty();
}

std::int64_t count_differing(const ReplayReport& report) {
  return std::count_if(report.final_state.begin(), report.final_state.end(),
                       [](const auto& item) { return item.differing > 0; });
}

std::int64_t count_uncompared(const ReplayReport& report) {
  return std::ssize(report.not_compared) +
         std::count_if(report.final_state.begin(), report.final_state.end(),
                       is_uncompared);
}

// What keeps a replay from being a success, in words.
std::vector<std::string> failures(const ReplayReport& report) {
  std::vector<std::string> parts;
  const auto steps =
      std::count_if(report.by_step.begin(), report.by_step.end(), is_bad);
  if (steps > 0) parts.push_back(counted(steps, "step") + " out of tolerance");
  if (report.compared == 0) parts.push_back("no output compared");
  if (const auto count = count_differing(report); count > 0) {
    parts.push_back("final state differs");
  }
  if (const auto count = count_uncompared(report); count > 0) {
    parts.push_back(counted(count, "part") + " not compared");
  }
  if (!report.findings.empty()) {
    parts.push_back(findings_verdict(report.findings, {}));
  }
  return parts;
}

std::string verdict(const ReplayReport& report, const TextStyle& style) {
  const std::string what =
      fmt::format("replayed {} x {} x {}", counted(report.steps, "step"),
                  counted(report.layers, "layer"),
                  counted(report.query_heads, "query head"));
  const std::string result =
      report.success() ? colored(style, Color::kGreen, "all within tolerance")
                       : colored(style, Color::kRed, joined(failures(report)));
  return fmt::format("{}: {}\n", what, result);
}

// "layer 9 row 0 head 14 dim 2".
std::string place_text(const ReplayReport& report, const ReplayPoint& point) {
  const std::string row =
      report.rows > 1 ? fmt::format(" row {}", point.row) : "";
  return fmt::format("layer {}{} query head {} dim {}", point.layer, row,
                     point.head, point.dim);
}

std::string point_text(std::string_view title, const ReplayReport& report,
                       const ReplayPoint& point, const TextStyle& style) {
  const auto [expected, actual] = value_pair(point.expected, point.actual);
  return fmt::format(
      "  {} at step {} (position {}): {}\n"
      "        expected {}, actual {}, error {} (allowed {})\n",
      title, point.step, point.position, place_text(report, point), expected,
      actual, error_text(point.abs_error, style.precision),
      error_text(point.allowed, style.precision));
}

bool is_same_place(const ReplayPoint& left, const ReplayPoint& right) {
  return left.step == right.step && left.token == right.token &&
         left.layer == right.layer && left.row == right.row &&
         left.head == right.head && left.dim == right.dim;
}

std::string points_text(const ReplayReport& report, const TextStyle& style) {
  const auto& [first, worst] = std::pair(report.first, report.worst);
  if (first && worst && is_same_place(*first, *worst)) {
    return point_text("first and worst", report, *first, style);
  }
  std::string text;
  if (first) text += point_text("first", report, *first, style);
  if (worst) text += point_text("worst", report, *worst, style);
  return text;
}

std::string tolerance_text(const ReplayReport& report) {
  const Tolerance& tolerance = report.tolerance;
  const Tolerance usual = default_tolerance(report.cache_dtype);
  const bool is_default =
      tolerance.rtol == usual.rtol && tolerance.atol == usual.atol;
  return fmt::format(
      "rtol {}, atol {}{}", setting_text(tolerance.rtol),
      setting_text(tolerance.atol),
      is_default ? fmt::format(" ({} default)", name(report.cache_dtype)) : "");
}

// What was computed from what, and how much of it was compared.
std::string basis_text(const ReplayReport& report) {
  std::string text = fmt::format(
      "  recomputed: attention output, in f32, from the trace's queries and "
      "the cache\n  compared: {}, {} out of tolerance ({})\n",
      counted(report.compared, "value"), count_text(report.out_of_tolerance),
      tolerance_text(report));
  if (!report.by_step.empty() && std::ssize(report.by_step) != report.steps) {
    text += fmt::format("  compared steps {} to {} only\n",
                        report.by_step.front().number,
                        report.by_step.back().number);
  }
  if (report.mode == ReplayOptions::Mode::kFaithful) {
    text += "  faithful: writes beyond the cache done as the system does\n";
  }
  return text;
}

std::vector<std::string> row_cells(const ReplayReport& report,
                                   const ReplayRow& row,
                                   const TextStyle& style) {
  const bool compared = row.compared > 0;
  return {count_text(row.number),
          compared ? error_text(row.worst.abs_error, style.precision) : "-",
          compared ? place_text(report, row.worst) : "not compared",
          is_bad(row) ? colored(style, Color::kRed, bad_mark(style)) : "",
          is_bad(row) ? percent_text(row.out_of_tolerance, row.compared) : ""};
}

Table row_table(std::string_view title) {
  return {.columns = {{std::string(title), Align::kRight},
                      {"max abs", Align::kRight},
                      {"worst"},
                      {""},
                      {"out", Align::kRight}},
          .rows = {}};
}

// Which steps the table shows: two before the first that is out of tolerance,
// then the bad ones; all of them where asked for.
std::vector<std::size_t> shown_steps(const ReplayReport& report,
                                     const TextStyle& style) {
  const auto& rows = report.by_step;
  const auto bad = std::find_if(rows.begin(), rows.end(), is_bad);
  const auto first_bad = std::distance(rows.begin(), bad);
  std::vector<std::size_t> shown;
  for (std::size_t step = 0; step < rows.size(); ++step) {
    const std::ptrdiff_t before = first_bad - static_cast<std::ptrdiff_t>(step);
    const bool near = bad != rows.end() && before > 0 && before <= kShownBefore;
    const bool wanted =
        (is_bad(rows[step]) || near) && shown.size() < kShownSteps;
    if (wanted || style.verbosity > 0) shown.push_back(step);
  }
  return shown;
}

std::string steps_text(const ReplayReport& report, const TextStyle& style) {
  const std::vector<std::size_t> shown = shown_steps(report, style);
  if (shown.empty()) return "";
  Table table = row_table("step");
  for (const std::size_t step : shown) {
    table.rows.push_back(row_cells(report, report.by_step[step], style));
  }
  const std::size_t hidden = report.by_step.size() - shown.size();
  const std::string more =
      hidden == 0 ? "" : fmt::format("  ... {} more (-v for all)\n", hidden);
  return '\n' + table_text(table) + more;
}

std::string layers_text(const ReplayReport& report, const TextStyle& style) {
  if (style.verbosity == 0 || report.by_layer.empty()) return "";
  Table table = row_table("layer");
  for (const ReplayRow& row : report.by_layer) {
    table.rows.push_back(row_cells(report, row, style));
  }
  return '\n' + table_text(table);
}

std::string course_text(const ReplayReport& report, const TextStyle& style) {
  std::vector<double> errors;
  for (const ReplayRow& row : report.by_step) {
    errors.push_back(row.compared > 0 ? row.worst.abs_error : 0);
  }
  const auto columns = static_cast<std::size_t>(std::max(10, style.width - 40));
  std::string text;
  if (errors.size() > 1) {
    const std::string line = sparkline(errors, columns, style);
    if (!line.empty()) text += fmt::format("  error over steps: {}\n", line);
  }
  if (report.doubling_steps) {
    text += fmt::format("  growth: error doubles about every {:.3g} steps\n",
                        *report.doubling_steps);
  }
  return text.empty() ? "" : '\n' + text;
}

std::string final_line(const FinalComparison& comparison) {
  const std::string object = printable(comparison.object);
  const std::string first = printable(comparison.first);
  if (is_uncompared(comparison)) {
    return fmt::format("  {}: not compared: {}\n", object, first);
  }
  return fmt::format(
      "  {}: {} of {} differ ({}), first at {}\n", object,
      count_text(comparison.differing), counted(comparison.compared, "value"),
      percent_text(comparison.differing, comparison.compared), first);
}

std::string final_text(const ReplayReport& report, const TextStyle& style) {
  if (report.final_state.empty()) return "";
  std::string lines;
  std::int64_t equal = 0;
  for (const FinalComparison& item : report.final_state) {
    const bool same = item.differing == 0 && item.first.empty();
    if (same) ++equal;
    if (!same) lines += final_line(item);
    if (same && style.verbosity > 0) {
      lines += fmt::format("  {}: equal\n", printable(item.object));
    }
  }
  return fmt::format("\n  final state: {} of {} equal, bit for bit\n{}",
                     count_text(equal),
                     counted(std::ssize(report.final_state), "tensor"), lines);
}

std::string uncompared_text(const ReplayReport& report) {
  std::string text;
  for (const std::string& part : report.not_compared) {
    text += fmt::format("  not compared: {}\n", printable(part));
  }
  return text;
}

std::string replay_findings(const ReplayReport& report,
                            const TextStyle& style) {
  if (report.findings.empty()) return "";
  const int limit = style.verbosity > 0 ? 0 : static_cast<int>(kShownSteps);
  return '\n' + findings_text(report.findings, style, limit);
}

}  // namespace

std::string replay_text(const ReplayReport& report, const std::string& file,
                        const TextStyle& style) {
  return printable(file) + ": " + verdict(report, style) +
         points_text(report, style) + basis_text(report) +
         uncompared_text(report) + steps_text(report, style) +
         layers_text(report, style) + course_text(report, style) +
         replay_findings(report, style) + final_text(report, style);
}

}  // namespace kvtape
