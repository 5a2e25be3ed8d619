// Replays of operation logs as text.
#include "report/operations.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/numbers.h"
#include "report/operations_words.h"
#include "report/replay_outcome.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::size_t kShownBefore = 2;  // operations before the first bad one
constexpr std::size_t kShown = 8;

using Status = OperationOutcome::Status;

std::string name_of(const OperationOutcome& outcome) {
  const std::string layer =
      outcome.layer ? fmt::format(" layer {}", *outcome.layer) : "";
  return fmt::format("operation {} ({}{})", outcome.number, outcome.operation,
                     layer);
}

struct Counts {
  std::int64_t compared = 0;
  std::int64_t equal = 0;
  std::int64_t not_run = 0;
};

void count(const std::vector<FinalComparison>& list, Counts& counts) {
  for (const FinalComparison& each : list) {
    ++counts.compared;
    if (each.first.empty()) ++counts.equal;
  }
}

Counts counts_of(const OperationsReport& report) {
  Counts counts;
  for (const OperationOutcome& outcome : report.operations) {
    count(outcome.compared, counts);
    if (outcome.status == Status::kNotRun) ++counts.not_run;
  }
  count(report.final_state, counts);
  return counts;
}

std::string verdict(const OperationsReport& report, const TextStyle& style) {
  const Counts counts = counts_of(report);
  std::string outcome = "all as recorded";
  if (report.broken) {
    const OperationOutcome& broken = report.operations[*report.broken];
    outcome =
        fmt::format("{} {}", name_of(broken), operation_word(broken.status));
    if (counts.not_run > 0)
      outcome += fmt::format(", {} not run", counts.not_run);
  } else if (!report.success()) {
    outcome = counts.compared == 0 ? "nothing was recorded to compare with"
                                   : "final state differs";
  }
  const Color color = report.success() ? Color::kGreen : Color::kRed;
  return fmt::format("replayed {}: {}\n",
                     counted(std::ssize(report.operations), "operation"),
                     colored(style, color, outcome));
}

std::string difference_text(const FinalComparison& comparison) {
  const std::string object = printable(comparison.object);
  const std::string first = printable(comparison.first);
  if (is_uncompared(comparison))
    return fmt::format("{}: not compared: {}", object, first);
  return fmt::format("{}: {} of {} differ, first at {}", object,
                     count_text(comparison.differing),
                     counted(comparison.compared, "value"), first);
}

void add_differences(const std::vector<FinalComparison>& list,
                     std::vector<std::vector<std::string>>& facts) {
  for (const FinalComparison& each : list)
    if (!each.first.empty())
      facts.push_back({"differs", difference_text(each)});
}

std::string facts_text(const OperationsReport& report) {
  std::vector<std::vector<std::string>> facts;
  if (report.broken) {
    const OperationOutcome& broken = report.operations[*report.broken];
    if (!broken.message.empty())
      facts.push_back({std::string(operation_word(broken.status)),
                       printable(broken.message)});
    add_differences(broken.compared, facts);
  }
  add_differences(report.final_state, facts);
  const Counts counts = counts_of(report);
  facts.push_back({"compared", fmt::format("{}, {} equal bit for bit",
                                           counted(counts.compared, "tensor"),
                                           count_text(counts.equal))});
  if (report.mode == Mode::kFaithful)
    facts.push_back({"faithful", "clamps, wraps and casts as the system does"});
  return table_text({.columns = {{}, {}}, .rows = std::move(facts)});
}

std::string compared_text(const OperationOutcome& outcome) {
  if (outcome.compared.empty()) return "";
  Counts counts;
  count(outcome.compared, counts);
  return fmt::format("{} of {}", counts.equal, counts.compared);
}

std::string table_of(const OperationsReport& report, const TextStyle& style) {
  if (style.verbosity == 0 && !report.broken) return "";
  const std::size_t all = report.operations.size();
  const std::size_t broken = report.broken.value_or(0);
  const bool verbose = style.verbosity > 0;
  const std::size_t first =
      verbose ? 0 : broken - std::min(broken, kShownBefore);
  const std::size_t last = verbose ? all : std::min(all, first + kShown);
  Table table{.columns = {{"operation", Align::kRight},
                          {"what"},
                          {"layer", Align::kRight},
                          {"equal", Align::kRight},
                          {"outcome"}},
              .rows = {}};
  for (std::size_t i = first; i < last; ++i) {
    const OperationOutcome& outcome = report.operations[i];
    table.rows.push_back(
        {std::to_string(outcome.number), outcome.operation,
         outcome.layer ? std::to_string(*outcome.layer) : "all",
         compared_text(outcome), std::string(operation_word(outcome.status))});
  }
  const std::size_t hidden = all - (last - first);
  return '\n' + table_text(table) +
         (hidden == 0 ? ""
                      : fmt::format("  ... {} more (-v for all)\n", hidden));
}

}  // namespace

std::string_view operation_word(OperationOutcome::Status status) {
  switch (status) {
    case Status::kEqual:
      return "as recorded";
    case Status::kNotRecorded:
      return "done";
    case Status::kDiffers:
      return "differs";
    case Status::kRefused:
      return "refused";
    case Status::kFailed:
      return "failed";
    case Status::kNotFailed:
      return "did not fail";
    case Status::kNotRun:
      return "not run";
  }
  return "?";
}

std::string operations_text(const OperationsReport& report,
                            const std::string& file, const TextStyle& style) {
  return printable(file) + ": " + verdict(report, style) + facts_text(report) +
         table_of(report, style);
}

}  // namespace kvtape
