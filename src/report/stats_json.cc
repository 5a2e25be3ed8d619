// Statistics as JSON.
#include "report/json.h"
#include "report/stats.h"

namespace kvtape {
namespace {

Json quantiles_json(const std::optional<Quantiles>& quantiles) {
  if (!quantiles) return {};
  return {{"p50", json_number(quantiles->p50)},
          {"p90", json_number(quantiles->p90)},
          {"p99", json_number(quantiles->p99)},
          {"p999", json_number(quantiles->p999)},
          {"exact", quantiles->exact}};
}

Json norms_json(const Norms& norms) {
  if (norms.count == 0) return {};
  return {{"count", norms.count},
          {"zeros", norms.zeros},
          {"min", json_number(norms.min)},
          {"mean", json_number(norms.sum / static_cast<double>(norms.count))},
          {"max", json_number(norms.max)}};
}

Json row_json(const StatsRow& row) {
  const bool any = row.finite() > 0;
  const auto number = [any](double value) {
    return any ? json_number(value) : Json();
  };
  Json positions;
  if (row.positions)
    positions = Json::array({row.positions->first, row.positions->last});
  return {{"layer", row.layer},
          {"kind", name(row.kind)},
          {"head", json_optional(row.head)},
          {"channel", json_optional(row.channel)},
          {"positions", std::move(positions)},
          {"dtype", name(row.dtype)},
          {"count", row.count},
          {"mean", number(row.mean)},
          {"std", number(row.std)},
          {"min", number(row.min)},
          {"max", number(row.max)},
          {"zeros", row.zeros},
          {"nan", row.nan},
          {"inf", row.inf},
          {"abs", quantiles_json(row.quantiles)},
          {"norms", norms_json(row.norms)},
          {"histogram", Json(row.histogram)},
          {"saturated", json_optional(row.saturated)}};
}

}  // namespace

std::string stats_json(const StatsReport& report, const std::string& file) {
  Json rows = Json::array();
  for (const StatsRow& row : report.rows) rows.push_back(row_json(row));
  Json findings = Json::array();
  for (const StatsFinding& finding : report.findings)
    findings.push_back({{"layer", finding.layer},
                        {"kind", name(finding.kind)},
                        {"head", json_optional(finding.head)},
                        {"text", finding.text}});
  return json_text({{"schema", "kvtape.stats/1"},
                    {"file", file},
                    {"by", name(report.by)},
                    {"dead", report.dead},
                    {"findings", std::move(findings)},
                    {"not_read", Json(report.not_read)},
                    {"rows", std::move(rows)}});
}

}  // namespace kvtape
