// Diff reports as JSON.
#include "report/diff.h"
#include "report/json.h"

namespace kvtape {
namespace {

// Means and ratios only where there is something to divide by.
Json stats_json(const DiffStats& stats) {
  const bool finite = stats.finite() > 0;
  return {{"compared", stats.compared},
          {"mismatched", stats.mismatched},
          {"differing", stats.differing},
          {"nan_expected", stats.nan_expected},
          {"nan_actual", stats.nan_actual},
          {"inf_expected", stats.inf_expected},
          {"inf_actual", stats.inf_actual},
          {"non_finite_mismatched", stats.non_finite_mismatched},
          {"max_abs", json_number(stats.max_abs)},
          {"rms", finite ? json_number(stats.rms()) : Json()},
          {"max_rel", json_number(stats.max_rel)},
          {"max_ulps", json_number(stats.max_ulps)},
          {"mean_ulps", finite ? json_number(stats.mean_ulps()) : Json()},
          {"sqnr_db", json_number(stats.sqnr())},
          {"cosine", json_number(stats.cosine)},
          {"token_error", json_number(stats.token_error)}};
}

Json point_json(const std::optional<DiffPoint>& point) {
  if (!point) return {};
  return {{"layer", point->layer},
          {"kind", name(point->kind)},
          {"row", point->row},
          {"position", point->position},
          {"head", point->head},
          {"dim", point->dim},
          {"expected", json_number(point->expected)},
          {"actual", json_number(point->actual)},
          {"allowed", json_number(point->allowed)},
          {"abs_error", json_number(point->abs_error)}};
}

Json fields_json(const DiffReport& report) {
  Json list = Json::array();
  for (const DiffField& field : report.fields)
    list.push_back({{"object", field.object},
                    {"field", field.field},
                    {"expected", field.expected},
                    {"actual", field.actual},
                    {"counts", field.counts}});
  return list;
}

Json gaps_json(const DiffReport& report) {
  Json list = Json::array();
  for (const DiffGap& gap : report.not_compared)
    list.push_back({{"object", gap.object}, {"reason", gap.reason}});
  return list;
}

Json cells_json(const std::vector<DiffCell>& cells) {
  Json list = Json::array();
  for (const DiffCell& cell : cells)
    list.push_back({{"layer", cell.layer},
                    {"kind", name(cell.kind)},
                    {"head", cell.head},
                    {"rounding_limit", json_number(cell.rounding_limit)},
                    {"first_bad", json_optional(cell.first_bad)},
                    {"worst", point_json(cell.worst)},
                    {"stats", stats_json(cell.stats)}});
  return list;
}

Json outputs_json(const std::vector<DiffCell>& cells) {
  Json list = Json::array();
  for (const DiffCell& cell : cells)
    list.push_back({{"layer", cell.layer},
                    {"query_head", cell.head},
                    {"first_bad_token", json_optional(cell.first_bad)},
                    {"stats", stats_json(cell.stats)}});
  return list;
}

Json others_json(const DiffReport& report) {
  Json list = Json::array();
  for (const DiffOther& other : report.others)
    list.push_back({{"object", other.object},
                    {"first", point_json(other.first)},
                    {"stats", stats_json(other.stats)}});
  return list;
}

// Those where nothing differs say nothing.
Json bands_json(const std::vector<DiffBand>& bands) {
  Json list = Json::array();
  for (const DiffBand& band : bands)
    if (band.stats.differing > 0)
      list.push_back({{"layer", band.layer},
                      {"kind", name(band.kind)},
                      {"first", band.first},
                      {"last", band.last},
                      {"stats", stats_json(band.stats)}});
  return list;
}

Json deciding_json(const DiffReport& report) {
  if (!report.deciding) return {};
  const DiffCell& cell = *report.deciding;
  return {{"layer", cell.layer},
          {"kind", name(cell.kind)},
          {"head", cell.head},
          {"token_error", json_number(cell.stats.token_error)},
          {"rounding_limit", json_number(cell.rounding_limit)}};
}

Json explanation_json(const DiffReport& report) {
  if (!report.explanation) return {};
  Json evidence = Json::array();
  for (const Evidence& each : report.explanation->evidence)
    evidence.push_back({{"cause", each.cause},
                        {"detail", each.detail},
                        {"median", json_number(each.median)},
                        {"worst", json_number(each.worst)},
                        {"same_as", Json(each.same_as)}});
  return {{"found", report.explanation->found},
          {"limit", json_number(report.explanation->limit)},
          {"evidence", std::move(evidence)}};
}

Json rule_json(const DiffReport& report) {
  if (report.exact) return {{"kind", "exact"}};
  if (report.ulp) return {{"kind", "ulp"}, {"ulp", json_number(*report.ulp)}};
  return {{"kind", "tolerance"},
          {"rtol", json_number(report.tolerance.rtol)},
          {"atol", json_number(report.tolerance.atol)}};
}

}  // namespace

std::string diff_json(const DiffReport& report, const DiffNames& names) {
  return json_text({
      {"schema", "kvtape.diff/1"},
      {"expected", names.expected},
      {"actual", names.actual},
      {"success", report.success()},
      {"verdict", name(report.verdict)},
      {"deciding", deciding_json(report)},
      {"dtype", name(report.dtype)},
      {"rule", rule_json(report)},
      {"align", name(report.align)},
      {"total", stats_json(report.total)},
      {"first", point_json(report.first)},
      {"worst", point_json(report.worst)},
      {"fields", fields_json(report)},
      {"not_compared", gaps_json(report)},
      {"explanation", explanation_json(report)},
      {"cells", cells_json(report.cells)},
      {"bands", bands_json(report.bands)},
      {"worst_head", bands_json(report.worst_head)},
      {"others", others_json(report)},
      {"outputs", outputs_json(report.outputs)},
      {"outputs_missing", report.outputs_missing},
  });
}

}  // namespace kvtape
