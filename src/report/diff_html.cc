// The picture of a diff with its tables, as one HTML file. No script is needed,
// and none runs: every text that comes from a file is escaped.
#include <fmt/format.h>

#include "report/diff.h"
#include "report/numbers.h"
#include "report/svg.h"

namespace kvtape {
namespace {

constexpr std::size_t kMostRows = 2000;

constexpr std::string_view kStyle =
    "body{font:14px sans-serif;margin:24px;color:#111;background:#fff}"
    "table{border-collapse:collapse;margin:8px 0 24px}"
    "td,th{padding:2px 10px;text-align:left;border-bottom:1px solid #ddd;"
    "font-variant-numeric:tabular-nums}"
    "h1{font-size:20px}h2{font-size:16px}svg{max-width:100%;height:auto}"
    ".bad{color:#b00000}.good{color:#006020}";

using Row = std::vector<std::string>;

std::string row_html(const Row& row, std::string_view element) {
  std::string text = "<tr>";
  for (const std::string& cell : row)
    text += fmt::format("<{0}>{1}</{0}>", element, svg_escaped(cell));
  return text + "</tr>\n";
}

// Nothing where there are no rows.
std::string table_html(std::string_view title, const Row& head,
                       const std::vector<Row>& rows) {
  if (rows.empty()) return "";
  std::string text = fmt::format("<h2>{}</h2>\n<table>\n", title);
  text += row_html(head, "th");
  for (std::size_t i = 0; i < std::min(rows.size(), kMostRows); ++i)
    text += row_html(rows[i], "td");
  text += "</table>\n";
  if (rows.size() > kMostRows)
    text += fmt::format("<p>... {} more</p>\n", rows.size() - kMostRows);
  return text;
}

std::string point_text(const DiffPoint& point) {
  const auto [expected, actual] = value_pair(point.expected, point.actual, 6);
  return fmt::format("{}: expected {}, actual {}, error {}", place_text(point),
                     expected, actual, error_text(point.abs_error, 3));
}

std::string summary_html(const DiffReport& report) {
  std::vector<Row> rows;
  if (report.first) rows.push_back({"first", point_text(*report.first)});
  if (report.worst) rows.push_back({"worst", point_text(*report.worst)});
  rows.push_back(
      {"compared", fmt::format("{} values, {} out of tolerance",
                               count_text(report.total.compared),
                               count_text(report.total.mismatched))});
  rows.push_back({"rule", rule_text(report)});
  rows.push_back({"verdict", verdict_text(report)});
  std::string text = "<table>\n";
  for (const Row& row : rows) text += row_html(row, "td");
  return text + "</table>\n";
}

Row cell_row(const DiffCell& cell) {
  const DiffStats& s = cell.stats;
  return {
      count_text(cell.layer),
      std::string(name(cell.kind)),
      count_text(cell.head),
      fmt::format("{} / {}", count_text(s.mismatched), count_text(s.compared)),
      s.non_finite_mismatched > 0 ? "NaN" : error_text(s.max_abs, 3),
      error_text(s.max_rel, 3),
      fmt::format("{:.4g}", s.max_ulps),
      fmt::format("{:.6f}", s.cosine),
      cell.first_bad ? count_text(*cell.first_bad) : "-"};
}

std::string cells_html(const DiffReport& report) {
  std::vector<Row> rows;
  for (const DiffCell& cell : report.cells)
    if (cell.stats.mismatched > 0) rows.push_back(cell_row(cell));
  return table_html("Heads out of tolerance",
                    {"layer", "kind", "head", "mismatched", "max abs",
                     "max rel", "max ulp", "cosine", "first bad position"},
                    rows);
}

std::string outputs_html(const DiffReport& report) {
  std::vector<Row> rows;
  for (const DiffCell& cell : report.outputs)
    if (cell.stats.mismatched > 0)
      rows.push_back({count_text(cell.layer), count_text(cell.head),
                      error_text(cell.stats.max_abs, 3),
                      cell.first_bad ? count_text(*cell.first_bad) : "-"});
  return table_html("Attention outputs out of tolerance",
                    {"layer", "query head", "max abs", "first bad token"},
                    rows);
}

std::string fields_html(const DiffReport& report) {
  std::vector<Row> rows;
  for (const DiffField& field : report.fields)
    rows.push_back({field.object, field.field, field.expected, field.actual,
                    field.counts ? "" : "not in meaning"});
  return table_html("Fields", {"object", "field", "expected", "actual", ""},
                    rows);
}

std::string gaps_html(const DiffReport& report) {
  std::vector<Row> rows;
  for (const DiffGap& gap : report.not_compared)
    rows.push_back({gap.object, gap.reason});
  return table_html("Not compared", {"object", "reason"}, rows);
}

std::string evidence_html(const DiffReport& report) {
  if (!report.explanation) return "";
  std::vector<Row> rows;
  for (const Evidence& evidence : report.explanation->evidence)
    rows.push_back({evidence.cause, error_text(evidence.median, 3),
                    error_text(evidence.worst, 3), evidence.detail});
  return table_html(report.explanation->found ? "Causes, the first explains it"
                                              : "Causes, none explains it",
                    {"cause", "median left", "worst left", "detail"}, rows);
}

}  // namespace

std::string diff_html(const DiffReport& report, const DiffNames& names) {
  const std::string title = svg_escaped(
      fmt::format("kvtape diff {} {}", names.expected, names.actual));
  return fmt::format(
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta "
             "charset=\"utf-8\"><title>{0}</title>\n<style>{1}</style></head>\n"
             "<body>\n<h1>{0}</h1>\n<p class=\"{2}\">{3}</p>\n",
             title, kStyle, report.success() ? "good" : "bad",
             svg_escaped(outcome_text(report))) +
         summary_html(report) + diff_svg(report, names) + gaps_html(report) +
         fields_html(report) + evidence_html(report) + cells_html(report) +
         outputs_html(report) + "</body></html>\n";
}

}  // namespace kvtape
