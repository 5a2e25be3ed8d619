#include "report/replay_hidden.h"

#include <fmt/format.h>

#include "report/findings.h"
#include "report/json.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

std::int64_t layers_out(const HiddenReport& report) {
  std::int64_t count = 0;
  for (const HiddenLayer& layer : report.layers)
    for (const auto* comparison :
         {&layer.parted, &layer.cached, &layer.uncached})
      if (*comparison && (*comparison)->out_of_tolerance > 0) {
        ++count;
        break;
      }
  return count;
}

std::string verdict(const HiddenReport& report) {
  if (const std::int64_t out = layers_out(report); out > 0)
    return fmt::format("{} out of tolerance", counted(out, "layer"));
  if (!report.findings.empty())
    return counted(std::ssize(report.findings), "finding");
  if (!report.not_compared.empty())
    return fmt::format("{} not compared",
                       counted(std::ssize(report.not_compared), "part"));
  return "all within tolerance";
}

std::string error_cell(const std::optional<HiddenComparison>& comparison,
                       const TextStyle& style) {
  if (!comparison) return "-";
  const std::string error = error_text(comparison->max_error, style.precision);
  if (comparison->out_of_tolerance == 0) return error;
  return fmt::format("{} {}", error,
                     colored(style, Color::kRed, bad_mark(style)));
}

std::string first_cell(const HiddenLayer& layer) {
  for (const auto* comparison : {&layer.parted, &layer.cached, &layer.uncached})
    if (*comparison && (*comparison)->first) {
      const auto& first = *(*comparison)->first;
      const auto [expected, actual] =
          value_pair(first.expected, first.actual, 3);
      return fmt::format("token {} row {} element {}: expected {}, actual {}",
                         first.token, first.row, first.element, expected,
                         actual);
    }
  return "";
}

Json comparison_json(const std::optional<HiddenComparison>& comparison) {
  if (!comparison) return {};
  Json first;
  if (const auto& place = comparison->first)
    first = {{"row", place->row},
             {"token", place->token},
             {"element", place->element},
             {"expected", json_number(place->expected)},
             {"actual", json_number(place->actual)}};
  return {{"tokens", comparison->tokens},
          {"out_of_tolerance", comparison->out_of_tolerance},
          {"max_abs", json_number(comparison->max_abs)},
          {"max_error", json_number(comparison->max_error)},
          {"first", std::move(first)}};
}

}  // namespace

std::string hidden_text(const HiddenReport& report, const std::string& file,
                        const TextStyle& style) {
  const Color color = report.success() ? Color::kGreen : Color::kRed;
  std::string text = fmt::format(
      "{}: replayed {} of {} x {} from hidden states: {}\n", printable(file),
      counted(report.tokens, "token"), counted(report.rows, "row"),
      counted(std::ssize(report.layers), "layer"),
      colored(style, color, verdict(report)));
  text += fmt::format(
      "  tolerance  rtol {}, atol {}, for the vectors of tokens; below the "
      "largest "
      "|error| / |expected|\n\n",
      setting_text(report.tolerance.rtol), setting_text(report.tolerance.atol));
  Table table{.columns = {{"layer", Align::kRight},
                          {"cached - uncached"},
                          {"cached - recorded"},
                          {"uncached - recorded"},
                          {"first out of tolerance"}},
              .rows = {}};
  for (const HiddenLayer& layer : report.layers)
    table.rows.push_back(
        {count_text(layer.layer), error_cell(layer.parted, style),
         error_cell(layer.cached, style), error_cell(layer.uncached, style),
         first_cell(layer)});
  text += table_text(table);
  for (const std::string& part : report.not_compared)
    text += fmt::format("  not compared: {}\n", printable(part));
  for (const std::string& note : report.notes)
    text += fmt::format("  note: {}\n", printable(note));
  if (!report.findings.empty())
    text += '\n' + findings_text(report.findings, style, 8);
  return text;
}

std::string hidden_json(const HiddenReport& report, const std::string& file) {
  Json layers = Json::array();
  for (const HiddenLayer& layer : report.layers)
    layers.push_back({{"layer", layer.layer},
                      {"cached_uncached", comparison_json(layer.parted)},
                      {"cached_recorded", comparison_json(layer.cached)},
                      {"uncached_recorded", comparison_json(layer.uncached)}});
  return json_text({
      {"schema", "kvtape.hidden/1"},
      {"file", file},
      {"success", report.success()},
      {"cache_dtype", name(report.cache_dtype)},
      {"tolerance",
       {{"rtol", json_number(report.tolerance.rtol)},
        {"atol", json_number(report.tolerance.atol)}}},
      {"rows", report.rows},
      {"tokens", report.tokens},
      {"layers", std::move(layers)},
      {"findings", findings_json(report.findings)},
      {"not_compared", Json(report.not_compared)},
      {"notes", Json(report.notes)},
  });
}

}  // namespace kvtape
