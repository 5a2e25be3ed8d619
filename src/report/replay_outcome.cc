// The outcome of a replay in words, for its text and its picture.
#include "report/replay_outcome.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "report/findings.h"
#include "report/text.h"

namespace kvtape {
namespace {

bool differs_finally(const ReplayReport& report) {
  return std::any_of(report.final_state.begin(), report.final_state.end(),
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
  if (differs_finally(report)) parts.push_back("final state differs");
  if (const auto count = count_uncompared(report); count > 0) {
    parts.push_back(counted(count, "part") + " not compared");
  }
  if (!report.findings.empty()) {
    parts.push_back(findings_verdict(report.findings, {}));
  }
  return parts;
}

}  // namespace

std::string replay_outcome(const ReplayReport& report) {
  return report.success() ? "all within tolerance" : joined(failures(report));
}

}  // namespace kvtape
