// The list of validation rules as text and JSON.
#include <fmt/format.h>

#include "report/json.h"
#include "report/text.h"
#include "report/validation.h"

namespace kvtape {

std::string rules_text(const TextStyle& style) {
  Table table{
      .columns = {{.title = "rule"}, {.title = "reads"}, {.title = "finds"}},
      .rows = {}};
  for (const Rule& rule : validation_rules()) {
    const Color color = rule.id.starts_with('W') ? Color::kYellow : Color::kRed;
    table.rows.push_back({colored(style, color, rule.id),
                          rule.values ? "values" : "metadata",
                          std::string(rule.summary)});
    if (style.verbosity > 0) {
      table.rows.push_back({"", "", "fix: " + std::string(rule.fix)});
    }
  }
  return table_text(table);
}

std::string rules_json() {
  Json rules = Json::array();
  for (const Rule& rule : validation_rules()) {
    rules.push_back(
        {{"id", rule.id},
         {"severity", rule.id.starts_with('W') ? "warning" : "error"},
         {"values", rule.values},
         {"summary", rule.summary},
         {"fix", rule.fix}});
  }
  return json_text({{"schema", "kvtape.rules/1"}, {"rules", rules}});
}

}  // namespace kvtape
