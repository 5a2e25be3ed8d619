// Replays of operation logs as JSON.
#include "report/operations_json.h"

#include "report/operations.h"
#include "report/operations_words.h"

namespace kvtape {
namespace {

Json comparisons_json(const std::vector<FinalComparison>& comparisons) {
  Json list = Json::array();
  for (const FinalComparison& each : comparisons)
    list.push_back({{"object", each.object},
                    {"compared", each.compared},
                    {"differing", each.differing},
                    {"first", each.first}});
  return list;
}

Json outcome_json(const OperationOutcome& outcome) {
  return {{"number", outcome.number},
          {"operation", outcome.operation},
          {"layer", json_optional(outcome.layer)},
          {"outcome", operation_word(outcome.status)},
          {"message", outcome.message},
          {"compared", comparisons_json(outcome.compared)}};
}

}  // namespace

Json log_json(const OperationsReport& report) {
  Json operations = Json::array();
  for (const OperationOutcome& outcome : report.operations)
    operations.push_back(outcome_json(outcome));
  return {
      {"success", report.success()},
      {"mode", report.mode == Mode::kChecked ? "checked" : "faithful"},
      {"broken",
       report.broken ? Json(report.operations[*report.broken].number) : Json()},
      {"operations", std::move(operations)},
      {"final_state", comparisons_json(report.final_state)},
  };
}

std::string operations_json(const OperationsReport& report,
                            const std::string& file) {
  Json json{{"schema", "kvtape.operations/1"}, {"file", file}};
  json.update(log_json(report));
  return json_text(json);
}

}  // namespace kvtape
