// Findings as text, for every report that has some.
#include "report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>

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

// The same finding in several layers.
struct Folded {
  Finding finding;  // its object without the number of the layer
  std::size_t number_at = std::string::npos;  // where in the object it stood
  std::vector<std::int64_t> layers;

  std::string object() const {
    std::string text = object_text(finding);
    if (number_at == std::string::npos) return text;
    return text.insert(number_at, ranges_text(layers, ","));
  }
};

Folded alone(const Finding& finding) {
  constexpr std::string_view kLayers = "/layers/";
  Folded result{.finding = finding};
  std::string& object = result.finding.object;
  const std::size_t layers = object.find(kLayers);
  if (layers == std::string::npos) return result;
  const std::size_t first = layers + kLayers.size();
  std::int64_t number = 0;
  const auto [end, error] =
      std::from_chars(&object[first], object.data() + object.size(), number);
  // Only a number that would be written like this again.
  const auto digits = static_cast<std::size_t>(end - &object[first]);
  if (error != std::errc() || std::to_string(number).size() != digits ||
      printable(object) != object)
    return result;
  object.erase(first, digits);
  result.number_at = first;
  result.layers = {number};
  return result;
}

using Folds = std::vector<Folded>;

// Findings in their order; what only differs in the layer joins the first.
Folds folds_of(const std::vector<Finding>& findings, const TextStyle& style) {
  Folds folds;
  std::map<std::string, std::size_t> known;
  for (const Finding& finding : findings) {
    Folded one = alone(finding);
    const Finding& f = one.finding;
    const auto [place, is_new] = known.try_emplace(
        fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", one.number_at, f.rule,
                    f.object, f.field, f.expected, f.found, f.fix),
        folds.size());
    const bool joins =
        !is_new && one.number_at != std::string::npos && style.verbosity == 0;
    if (joins)
      folds[place->second].layers.push_back(one.layers[0]);
    else
      folds.push_back(std::move(one));
  }
  return folds;
}

int object_columns(const Folds& folds, std::size_t shown) {
  int columns = 0;
  for (std::size_t at = 0; at < shown; ++at) {
    const int width = display_width(folds[at].object());
    if (width <= kObjectColumns) columns = std::max(columns, width);
  }
  return columns;
}

std::string fold_text(const Folded& fold, const TextStyle& style, int columns) {
  const Finding& finding = fold.finding;
  const std::string object = fold.object();
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
  const Folds folds = folds_of(findings, style);
  const std::size_t shown =
      limit == 0 ? folds.size() : std::min(limit, folds.size());
  const int columns = object_columns(folds, shown);
  std::string text;
  std::size_t told = 0;
  for (std::size_t at = 0; at < shown; ++at) {
    text += fold_text(folds[at], style, columns);
    told += std::max<std::size_t>(folds[at].layers.size(), 1);
  }
  if (told < findings.size())
    text += fmt::format("  ... {} more\n", findings.size() - told);
  return text;
}

}  // namespace kvtape
