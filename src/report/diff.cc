// Diff reports as text.
#include "report/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::size_t kShownCells = 8;
constexpr std::size_t kShownGaps = 8;

using Facts = std::vector<std::vector<std::string>>;

std::int64_t heads_out(const std::vector<DiffCell>& cells) {
  return std::count_if(cells.begin(), cells.end(), [](const DiffCell& cell) {
    return cell.stats.mismatched > 0;
  });
}

std::int64_t fields_that_count(const DiffReport& report) {
  return std::count_if(report.fields.begin(), report.fields.end(),
                       [](const DiffField& field) { return field.counts; });
}

std::string headline(const DiffReport& report, const TextStyle& style) {
  const bool same = report.success();
  const std::string_view word = !same ? "different"
                                : report.verdict == Verdict::kIdentical
                                    ? "identical"
                                    : "same";
  return fmt::format("{}: {}\n",
                     colored(style, same ? Color::kGreen : Color::kRed, word),
                     outcome_text(report));
}

// ---- facts

void add_point(Facts& facts, std::string_view title, const DiffPoint& point,
               const TextStyle& style) {
  const auto [expected, actual] =
      value_pair(point.expected, point.actual, style.precision);
  const std::string allowed =
      std::isnan(point.allowed)
          ? ""
          : fmt::format(" (allowed {})",
                        error_text(point.allowed, style.precision));
  facts.push_back({std::string(title), place_text(point)});
  facts.push_back(
      {"", fmt::format("expected {}, actual {}, error {}{}", expected, actual,
                       error_text(point.abs_error, style.precision), allowed)});
}

bool is_same_place(const DiffPoint& a, const DiffPoint& b) {
  return std::tuple(a.layer, a.kind, a.row, a.position, a.head, a.dim) ==
         std::tuple(b.layer, b.kind, b.row, b.position, b.head, b.dim);
}

void add_points(Facts& facts, const DiffReport& report,
                const TextStyle& style) {
  const auto& first = report.first;
  const auto& worst = report.worst;
  const bool same = first && worst && is_same_place(*first, *worst);
  if (first) add_point(facts, same ? "first, worst" : "first", *first, style);
  if (worst && !same) add_point(facts, "worst", *worst, style);
}

std::string compared_text(const DiffReport& report) {
  const DiffStats& total = report.total;
  std::string text = fmt::format(
      "{}, {} out of tolerance ({}), {} with other bits",
      counted(total.compared, "value"), count_text(total.mismatched),
      total.compared > 0 ? percent_text(total.mismatched, total.compared)
                         : "0%",
      count_text(total.differing));
  if (report.align != DiffAlign::kPosition)
    text += fmt::format(", slots aligned by {}", name(report.align));
  return text;
}

std::string non_finite_text(const DiffStats& total) {
  return fmt::format(
      "expected {} NaN, {} Inf; actual {} NaN, {} Inf",
      count_text(total.nan_expected), count_text(total.inf_expected),
      count_text(total.nan_actual), count_text(total.inf_actual));
}

void add_outputs(Facts& facts, const DiffReport& report,
                 const TextStyle& style) {
  if (!report.outputs_missing.empty())
    facts.push_back(
        {"attention", "not compared: " + printable(report.outputs_missing)});
  if (report.outputs.empty()) return;
  const auto worst =
      std::max_element(report.outputs.begin(), report.outputs.end(),
                       [](const DiffCell& a, const DiffCell& b) {
                         return a.stats.max_abs < b.stats.max_abs;
                       });
  facts.push_back(
      {"attention",
       fmt::format("outputs over both caches: {} of {} out of tolerance, "
                   "largest error {} at layer {} query head {}",
                   count_text(heads_out(report.outputs)),
                   counted(std::ssize(report.outputs), "query head"),
                   error_text(worst->stats.max_abs, style.precision),
                   worst->layer, worst->head)});
}

void add_others(Facts& facts, const DiffReport& report,
                const TextStyle& style) {
  std::int64_t out = 0;
  const DiffOther* worst = nullptr;
  for (const DiffOther& other : report.others) {
    if (other.stats.mismatched == 0) continue;
    ++out;
    if (worst == nullptr || other.stats.max_abs > worst->stats.max_abs)
      worst = &other;
  }
  if (worst == nullptr) return;
  facts.push_back(
      {"beside it",
       fmt::format(
           "{} of {} of the trace and the state after it out of "
           "tolerance, largest error {} in {}",
           count_text(out), counted(std::ssize(report.others), "tensor"),
           error_text(worst->stats.max_abs, style.precision), worst->object)});
}

std::string cause_text(const Explanation& explanation) {
  if (!explanation.found) return "none of the known mistakes explains it";
  const Evidence& best = explanation.evidence.front();
  std::string text = best.cause;
  for (const std::string& other : best.same_as)
    if (other != best.cause) text += " or " + other;
  return fmt::format("{}: {}", text, printable(best.detail));
}

std::string facts_text(const DiffReport& report, const TextStyle& style) {
  Facts facts;
  add_points(facts, report, style);
  facts.push_back({"compared", compared_text(report)});
  facts.push_back({"rule", rule_text(report)});
  if (report.total.non_finite > 0)
    facts.push_back({"not finite", non_finite_text(report.total)});
  facts.push_back({"verdict", verdict_text(report)});
  if (report.explanation)
    facts.push_back({"cause", cause_text(*report.explanation)});
  add_outputs(facts, report, style);
  add_others(facts, report, style);
  return table_text({.columns = {{}, {}}, .rows = std::move(facts)});
}

// ---- fields and gaps

// What is said of several objects alike is said once.
std::string objects_text(const std::string& first, std::int64_t count) {
  return count == 1 ? printable(first)
                    : fmt::format("{} and {} more", printable(first),
                                  count_text(count - 1));
}

struct FieldGroup {
  DiffField field;
  std::int64_t count = 0;
};

std::vector<FieldGroup> grouped(const DiffReport& report, bool counts) {
  std::vector<FieldGroup> groups;
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t>
      places;
  for (const DiffField& field : report.fields) {
    if (field.counts != counts) continue;
    const auto [place, added] = places.try_emplace(
        std::tuple(field.field, field.expected, field.actual), groups.size());
    if (added) groups.push_back({.field = field});
    ++groups[place->second].count;
  }
  return groups;
}

std::string fields_text(const DiffReport& report, bool counts,
                        std::string_view title) {
  const std::vector<FieldGroup> groups = grouped(report, counts);
  if (groups.empty()) return "";
  Table table{
      .columns = {{std::string(title)}, {"expected"}, {"actual"}, {"of"}},
      .rows = {}};
  for (const FieldGroup& group : groups)
    table.rows.push_back({printable(group.field.field),
                          printable(group.field.expected, 40),
                          printable(group.field.actual, 40),
                          objects_text(group.field.object, group.count)});
  return '\n' + table_text(table);
}

std::string gaps_text(const DiffReport& report, const TextStyle& style) {
  std::vector<std::pair<DiffGap, std::int64_t>> groups;
  std::map<std::string, std::size_t> places;
  for (const DiffGap& gap : report.not_compared) {
    const auto [place, added] = places.try_emplace(gap.reason, groups.size());
    if (added) groups.emplace_back(gap, 0);
    ++groups[place->second].second;
  }
  if (groups.empty()) return "";
  const std::size_t shown =
      style.verbosity > 0 ? groups.size() : std::min(groups.size(), kShownGaps);
  std::string text = "\n  not compared\n";
  for (std::size_t i = 0; i < shown; ++i)
    text += fmt::format("  {}: {}\n",
                        objects_text(groups[i].first.object, groups[i].second),
                        printable(groups[i].first.reason));
  if (shown < groups.size())
    text += fmt::format("  ... {} more (-v for all)\n", groups.size() - shown);
  return text;
}

// ---- heads

std::string sqnr_text(const DiffStats& stats) {
  const double sqnr = stats.sqnr();
  return std::isinf(sqnr) ? (sqnr > 0 ? "exact" : "-inf")
                          : fmt::format("{:.1f}", sqnr);
}

std::vector<std::string> cell_cells(const DiffCell& cell,
                                    const TextStyle& style) {
  const DiffStats& s = cell.stats;
  return {
      count_text(cell.layer),
      std::string(name(cell.kind)),
      count_text(cell.head),
      fmt::format("{} / {}", count_text(s.mismatched), count_text(s.compared)),
      error_text(s.max_abs, style.precision),
      error_text(s.max_rel, style.precision),
      fmt::format("{:.4g}", s.max_ulps),
      sqnr_text(s),
      fmt::format("{:.6f}", s.cosine),
      cell.first_bad ? count_text(*cell.first_bad) : "-"};
}

std::string cells_text(const DiffReport& report, const TextStyle& style) {
  Table table{.columns = {{"layer", Align::kRight},
                          {"kind"},
                          {"head", Align::kRight},
                          {"mismatched", Align::kRight},
                          {"max abs", Align::kRight},
                          {"max rel", Align::kRight},
                          {"max ulp", Align::kRight},
                          {"SQNR dB", Align::kRight},
                          {"cosine", Align::kRight},
                          {"first bad", Align::kRight}},
              .rows = {}};
  const bool all = style.verbosity > 0;
  std::int64_t hidden = 0;
  for (const DiffCell& cell : report.cells) {
    if (!all && cell.stats.mismatched == 0) continue;
    if (!all && table.rows.size() == kShownCells)
      ++hidden;
    else
      table.rows.push_back(cell_cells(cell, style));
  }
  if (table.rows.empty()) return "";
  const std::string more =
      hidden == 0 ? "" : fmt::format("  ... {} more (-v for all)\n", hidden);
  return '\n' + table_text(table) + more;
}

}  // namespace

std::string place_text(const DiffPoint& point) {
  return fmt::format("layer {} {} row {} position {} head {} dim {}",
                     point.layer, name(point.kind), point.row, point.position,
                     point.head, point.dim);
}

std::string rule_text(const DiffReport& report) {
  if (report.exact) return "equal bits";
  if (report.ulp)
    return fmt::format("at most {} ulp of the coarser dtype",
                       setting_text(*report.ulp));
  const Tolerance usual = default_tolerance(report.dtype);
  const bool is_default = report.tolerance.rtol == usual.rtol &&
                          report.tolerance.atol == usual.atol;
  return fmt::format(
      "rtol {}, atol {}{}", setting_text(report.tolerance.rtol),
      setting_text(report.tolerance.atol),
      is_default ? fmt::format(" (default for {})", name(report.dtype)) : "");
}

std::string outcome_text(const DiffReport& report) {
  const std::int64_t out = heads_out(report.cells);
  std::vector<std::string> parts;
  if (out > 0)
    parts.push_back(fmt::format("{} of {} out of tolerance", count_text(out),
                                counted(std::ssize(report.cells), "head")));
  if (const std::int64_t fields = fields_that_count(report); fields > 0)
    parts.push_back(counted(fields, "field"));
  const std::int64_t others = std::count_if(
      report.others.begin(), report.others.end(),
      [](const DiffOther& other) { return other.stats.mismatched > 0; });
  if (others > 0)
    parts.push_back(
        fmt::format("{} beside the cache", counted(others, "tensor")));
  if (!report.not_compared.empty())
    parts.push_back(fmt::format(
        "{} not compared", counted(std::ssize(report.not_compared), "part")));
  if (!parts.empty()) return joined(parts);
  if (report.verdict == Verdict::kIdentical)
    return counted(report.total.compared, "value");
  return fmt::format("within tolerance, worst {} at {}",
                     error_text(report.worst->abs_error, 3),
                     place_text(*report.worst));
}

std::string verdict_text(const DiffReport& report) {
  if (report.verdict == Verdict::kIdentical)
    return "identical: all numbers have the same bits";
  const DiffCell& cell = *report.deciding;
  const std::string where = fmt::format("layer {} {} head {}", cell.layer,
                                        name(cell.kind), cell.head);
  if (cell.stats.non_finite_mismatched > 0)
    return fmt::format("structural: NaN or Inf on one side only, {}", where);
  return fmt::format(
      "{}: the worst token is off by {} of its length ({}), rounding makes up "
      "to {}",
      report.verdict == Verdict::kRounding ? "rounding only" : "structural",
      error_text(cell.stats.token_error, 3), where,
      error_text(cell.rounding_limit, 3));
}

std::string explain_text(const Explanation& explanation) {
  Table table{.columns = {{"cause"},
                          {"median left", Align::kRight},
                          {"worst left", Align::kRight},
                          {"detail"}},
              .rows = {}};
  for (const Evidence& evidence : explanation.evidence)
    table.rows.push_back({evidence.cause, error_text(evidence.median, 3),
                          error_text(evidence.worst, 3),
                          printable(evidence.detail)});
  return fmt::format("\n  explained, what is left of |actual| (rounding: {})\n",
                     error_text(explanation.limit, 3)) +
         table_text(table);
}

std::string diff_text(const DiffReport& report, const DiffNames& names,
                      const TextStyle& style) {
  std::string text = fmt::format("{} {}: ", printable(names.expected),
                                 printable(names.actual)) +
                     headline(report, style);
  if (!report.success() || style.verbosity > 0)
    text += facts_text(report, style) + gaps_text(report, style) +
            fields_text(report, true, "field") + cells_text(report, style);
  text += fields_text(report, false, "differs, not in meaning");
  if (report.total.mismatched > 0) text += diff_map(report, style);
  return text;
}

}  // namespace kvtape
