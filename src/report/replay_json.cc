// Replay reports as JSON. The kernel is left out: it changes nothing in the
// result, and the same input should give the same bytes on any machine.
#include <iterator>

#include "report/json.h"
#include "report/operations_json.h"
#include "report/replay.h"

namespace kvtape {
namespace {

Json point_json(const ReplayPoint& point) {
  return {{"step", point.step},
          {"token", point.token},
          {"position", point.position},
          {"layer", point.layer},
          {"row", point.row},
          {"head", point.head},
          {"dim", point.dim},
          {"expected", json_number(point.expected)},
          {"actual", json_number(point.actual)},
          {"allowed", json_number(point.allowed)},
          {"abs_error", json_number(point.abs_error)}};
}

Json point_or_null(const std::optional<ReplayPoint>& point) {
  return point ? point_json(*point) : Json();
}

// `number` names what the rows count: "step" or "layer".
Json rows_json(const std::vector<ReplayRow>& rows, const char* number) {
  Json list = Json::array();
  for (const ReplayRow& row : rows) {
    Json item = {{number, row.number}};
    if (std::string_view(number) == "step") item["position"] = row.position;
    item["compared"] = row.compared;
    item["out_of_tolerance"] = row.out_of_tolerance;
    item["worst"] = row.compared > 0 ? point_json(row.worst) : Json();
    list.push_back(std::move(item));
  }
  return list;
}

Json errors_json(const ReplayReport& report) {
  Json layers = Json::array();
  for (const std::vector<double>& errors : report.errors) {
    Json steps = Json::array();
    for (const double error : errors) steps.push_back(json_number(error));
    layers.push_back(std::move(steps));
  }
  return layers;
}

Json final_json(const ReplayReport& report) {
  Json list = Json::array();
  for (const FinalComparison& item : report.final_state) {
    list.push_back({{"object", item.object},
                    {"compared", item.compared},
                    {"differing", item.differing},
                    {"first", item.first}});
  }
  return list;
}

Json tolerance_json(const ReplayReport& report) {
  return {{"rtol", json_number(report.tolerance.rtol)},
          {"atol", json_number(report.tolerance.atol)}};
}

}  // namespace

std::string replay_json(const ReplayReport& report, const std::string& file,
                        const OperationsReport* log) {
  const bool checked = report.mode == ReplayOptions::Mode::kChecked;
  const Json doubling =
      report.doubling_steps ? json_number(*report.doubling_steps) : Json();
  return json_text({
      {"schema", "kvtape.replay/1"},
      {"file", file},
      {"success", report.success() && (log == nullptr || log->success())},
      {"mode", checked ? "checked" : "faithful"},
      {"cache_dtype", name(report.cache_dtype)},
      {"tolerance", tolerance_json(report)},
      {"steps", report.steps},
      {"tokens", report.tokens},
      {"layers", report.layers},
      {"rows", report.rows},
      {"query_heads", report.query_heads},
      {"compared", report.compared},
      {"out_of_tolerance", report.out_of_tolerance},
      {"not_compared", Json(report.not_compared)},
      {"first", point_or_null(report.first)},
      {"worst", point_or_null(report.worst)},
      {"doubling_steps", doubling},
      {"by_step", rows_json(report.by_step, "step")},
      {"by_layer", rows_json(report.by_layer, "layer")},
      {"errors", errors_json(report)},
      {"findings", findings_json(report.findings)},
      {"final_state", final_json(report)},
      {"log", log == nullptr ? Json() : log_json(*log)},
  });
}

}  // namespace kvtape
