// Findings as text, for every report that has some.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvtape/finding.h"
#include "report/style.h"

namespace kvtape {

struct FindingCounts {
  std::int64_t errors = 0;
  std::int64_t warnings = 0;
};
FindingCounts count_findings(const std::vector<Finding>& findings);

/// "2 errors, 1 warning", or "sound".
std::string findings_verdict(const std::vector<Finding>& findings,
                             const TextStyle& style);

/// Two lines for each finding: what, and how to mend it; one that several
/// layers share counts as one unless verbose. At most `max_issues` (0 = all),
/// the rest counted.
std::string findings_text(const std::vector<Finding>& findings,
                          const TextStyle& style, int max_issues);

}  // namespace kvtape
