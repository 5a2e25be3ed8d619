// Replay reports as text.
#include "report/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "report/findings.h"
#include "report/numbers.h"
#include "report/replay_outcome.h"
#include "report/sparkline.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::ptrdiff_t kShownBefore = 2;  // steps before the first bad one
constexpr std::size_t kShownSteps = 8;

std::string verdict(const ReplayReport& report, const TextStyle& style) {
  const std::string what =
      fmt::format("replayed {} x {} x {}", counted(report.steps, "step"),
                  counted(report.layers, "layer"),
                  counted(report.query_heads, "query head"));
  const Color color = report.success() ? Color::kGreen : Color::kRed;
  return fmt::format("{}: {}\n", what,
                     colored(style, color, replay_outcome(report)));
}

// "layer 9 row 0 head 14 dim 2".
std::string place_text(const ReplayReport& report, const ReplayPoint& point) {
  const std::string row =
      report.rows > 1 ? fmt::format(" row {}", point.row) : "";
  return fmt::format("layer {}{} query head {} dim {}", point.layer, row,
                     point.head, point.dim);
}

// What is said in two columns: a word, and what it is.
using Facts = std::vector<std::vector<std::string>>;

void add_point(Facts& facts, std::string_view title, const ReplayReport& report,
               const ReplayPoint& point, const TextStyle& style) {
  const auto [expected, actual] =
      value_pair(point.expected, point.actual, style.precision);
  facts.push_back({std::string(title),
                   fmt::format("step {} (position {}): {}", point.step,
                               point.position, place_text(report, point))});
  facts.push_back(
      {"",
       fmt::format("expected {}, actual {}, error {} (allowed {})", expected,
                   actual, error_text(point.abs_error, style.precision),
                   error_text(point.allowed, style.precision))});
}

bool is_same_place(const ReplayPoint& left, const ReplayPoint& right) {
  return left.step == right.step && left.token == right.token &&
         left.layer == right.layer && left.row == right.row &&
         left.head == right.head && left.dim == right.dim;
}

void add_points(Facts& facts, const ReplayReport& report,
                const TextStyle& style) {
  const auto& first = report.first;
  const auto& worst = report.worst;
  const bool same = first && worst && is_same_place(*first, *worst);
  if (first) {
    add_point(facts, same ? "first, worst" : "first", report, *first, style);
  }
  if (worst && !same) add_point(facts, "worst", report, *worst, style);
}

std::string tolerance_text(const ReplayReport& report) {
  const Tolerance& tolerance = report.tolerance;
  const Tolerance usual = default_tolerance(report.cache_dtype);
  const bool is_default =
      tolerance.rtol == usual.rtol && tolerance.atol == usual.atol;
  const std::string source =
      is_default ? fmt::format(" (default for {})", name(report.cache_dtype))
                 : "";
  return fmt::format("rtol {}, atol {}{}", setting_text(tolerance.rtol),
                     setting_text(tolerance.atol), source);
}

std::string compared_text(const ReplayReport& report) {
  std::string text = fmt::format(
      "{}, {} out of tolerance", counted(report.compared, "value"),
      report.out_of_tolerance == 0 ? "none"
                                   : count_text(report.out_of_tolerance));
  if (!report.by_step.empty() && std::ssize(report.by_step) != report.steps) {
    text += fmt::format(" (steps {} to {} only)", report.by_step.front().number,
                        report.by_step.back().number);
  }
  return text;
}

// The error over the steps as a row of bars; empty where it tells nothing.
std::string course_text(const ReplayReport& report, const TextStyle& style) {
  std::vector<double> errors;
  for (const ReplayRow& row : report.by_step) {
    errors.push_back(row.compared > 0 ? row.worst.abs_error : 0);
  }
  if (errors.size() < 2) return "";
  const auto columns = static_cast<std::size_t>(std::max(10, style.width - 50));
  return sparkline(errors, columns, style);
}

// What was computed from what, how it was compared, and with what outcome.
std::string facts_text(const ReplayReport& report, const TextStyle& style) {
  Facts facts;
  add_points(facts, report, style);
  facts.push_back({"compared", compared_text(report)});
  facts.push_back({"tolerance", tolerance_text(report)});
  facts.push_back({"recomputed",
                   "attention output, in f32, from the trace's queries and the "
                   "cache"});
  if (report.mode == ReplayOptions::Mode::kFaithful) {
    facts.push_back({"faithful", "writes beyond the cache as the system does"});
  }
  if (const std::string bars = course_text(report, style); !bars.empty()) {
    facts.push_back({"error", bars + " by step, log scale"});
  }
  if (report.doubling_steps) {
    facts.push_back(
        {"growth", fmt::format("error doubles about every {:.3g} steps",
                               *report.doubling_steps)});
  }
  for (const std::string& part : report.not_compared) {
    facts.push_back({"not compared", printable(part)});
  }
  return table_text({.columns = {{}, {}}, .rows = std::move(facts)});
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
         facts_text(report, style) + steps_text(report, style) +
         layers_text(report, style) + replay_findings(report, style) +
         final_text(report, style);
}

}  // namespace kvtape
