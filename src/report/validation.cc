// Validation reports as text and JSON.
#include "report/validation.h"

#include <fmt/format.h>

#include "report/findings.h"
#include "report/json.h"
#include "report/text.h"

namespace kvtape {
namespace {

// "31 rules, metadata only".
std::string extent_text(const ValidationReport& report) {
  return counted(report.rules, "rule") +
         (report.values ? ", metadata and values" : ", metadata only");
}

Json validation_entry(const NamedValidation& validation) {
  const ValidationReport& report = validation.report;
  const FindingCounts counts = count_findings(report.findings);
  return {{"file", validation.file},
          {"sound", report.findings.empty()},
          {"errors", counts.errors},
          {"warnings", counts.warnings},
          {"rules", report.rules},
          {"values", report.values},
          {"findings", findings_json(report.findings)}};
}

}  // namespace

std::string validation_text(const NamedValidation& validation,
                            const TextStyle& style, int max_issues) {
  const ValidationReport& report = validation.report;
  return fmt::format("{}: {} ({})\n{}", printable(validation.file),
                     findings_verdict(report.findings, style),
                     extent_text(report),
                     findings_text(report.findings, style, max_issues));
}

std::string validation_json(const std::vector<NamedValidation>& validations) {
  Json files = Json::array();
  for (const NamedValidation& validation : validations) {
    files.push_back(validation_entry(validation));
  }
  return json_text({{"schema", "kvtape.validate/1"}, {"files", files}});
}

}  // namespace kvtape
