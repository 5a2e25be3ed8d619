// What an insertion did, as text and JSON.
#include "report/insert.h"

#include <fmt/format.h>

#include "report/json.h"
#include "report/text.h"

namespace kvtape {

std::string insert_text(const InsertReport& report, const InsertFiles& files,
                        const TextStyle& style) {
  if (!report.refused.empty())
    return fmt::format("{}: {}: {}\n  --mode faithful does as EasyDeL does\n",
                       printable(files.cache),
                       colored(style, Color::kRed, "refused"),
                       printable(report.refused));
  return fmt::format(
      "wrote {}: {} of {} from slot {} of {}, {}\n", printable(files.output),
      counted(report.rows, "row"), printable(files.other), report.slot,
      counted(report.batch, "row"), counted(report.layers, "layer"));
}

std::string insert_json(const InsertReport& report, const InsertFiles& files) {
  const bool done = report.refused.empty();
  return json_text({
      {"schema", "kvtape.insert/1"},
      {"file", files.cache},
      {"other", files.other},
      {"output", files.output},
      {"success", done},
      {"mode", report.mode == Mode::kChecked ? "checked" : "faithful"},
      {"slot", report.slot},
      {"rows", report.rows},
      {"batch_size", report.batch},
      {"layers", report.layers},
      {"refused", done ? Json() : Json(report.refused)},
  });
}

}  // namespace kvtape
