// Findings as text, for every report that has some.
#include "report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "report/text.h"
#include "report/utf8.h"

namespace kvtape {
namespace {

// Objects longer than this push their own line's text to the right only.
constexpr int kObjectColumns = 32;

std::string severity_text(const Finding& finding, const TextStyle& style) {
  return finding.severity() == Severity::kError
             ? colored(style, Color::kRed, "error") + "  "
             : colored(style, Color::kYellow, "warning");
}

// "shape: expected [1, 8], found [1, 7]", as far as its parts are there.
std::string message(const Finding& finding) {
  std::vector<std::string> parts;
  if (!finding.expected.empty()) {
    parts.push_back("expected " + printable(finding.expected));
  }
  if (!finding.found.empty()) {
    parts.push_back("found " + printable(finding.found));
  }
  const std::string what = joined(parts);
  if (finding.field.empty()) return what;
  const std::string field = printable(finding.field);
  return what.empty() ? field : field + ": " + what;
}

std::string object_text(const Finding& finding) {
  return finding.object.empty() ? "/" : printable(finding.object);
}

int object_columns(const std::vector<Finding>& findings, std::size_t shown) {
  int columns = 0;
  for (std::size_t at = 0; at < shown; ++at) {
    const int width = display_width(object_text(findings[at]));
    if (width <= kObjectColumns) columns = std::max(columns, width);
  }
  return columns;
}

std::string finding_text(const Finding& finding, const TextStyle& style,
                         int columns) {
  const std::string object = object_text(finding);
  const int missing = std::max(0, columns - display_width(object));
  std::string text = fmt::format(
      "  {} {} {}{:{}}  {}\n", severity_text(finding, style),
      printable(finding.rule), object, "", missing, message(finding));
  if (!finding.fix.empty()) {
    text += fmt::format("          fix: {}\n", printable(finding.fix));
  }
  return text;
}

}  // namespace

FindingCounts count_findings(const std::vector<Finding>& findings) {
  const auto errors = std::count_if(
      findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.severity() == Severity::kError;
      });
  return {.errors = errors, .warnings = std::ssize(findings) - errors};
}

std::string findings_verdict(const std::vector<Finding>& findings,
                             const TextStyle& style) {
  const FindingCounts counts = count_findings(findings);
  std::vector<std::string> parts;
  if (counts.errors > 0) {
    parts.push_back(
        colored(style, Color::kRed, counted(counts.errors, "error")));
  }
  if (counts.warnings > 0) {
    parts.push_back(
        colored(style, Color::kYellow, counted(counts.warnings, "warning")));
  }
  return parts.empty() ? colored(style, Color::kGreen, "sound") : joined(parts);
}

std::string findings_text(const std::vector<Finding>& findings,
                          const TextStyle& style, int max_issues) {
  const auto limit = static_cast<std::size_t>(std::max(0, max_issues));
  const std::size_t shown =
      limit == 0 ? findings.size() : std::min(limit, findings.size());
  const int columns = object_columns(findings, shown);
  std::string text;
  for (std::size_t at = 0; at < shown; ++at) {
    text += finding_text(findings[at], style, columns);
  }
  if (shown < findings.size()) {
    text += fmt::format("  ... {} more\n", findings.size() - shown);
  }
  return text;
}

}  // namespace kvtape
