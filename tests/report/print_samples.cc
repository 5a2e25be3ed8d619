// Prints the JSON of made-up reports, for schema_test.py.
#include <cstdio>
#include <string>
#include <string_view>

#include "report/diff.h"
#include "report/insert.h"
#include "report/operations.h"
#include "report/replay.h"
#include "report/stats.h"
#include "samples.h"

namespace {

using namespace kvtape;

std::string sample(std::string_view name) {
  if (name == "info") {
    return info_json({samples::tape(), samples::plain_tape(2), {}});
  }
  if (name == "validate") {
    return validation_json({samples::unsound(), samples::sound()});
  }
  if (name == "rules") return rules_json();
  if (name == "replay") {
    return replay_json(samples::troubled_replay(), samples::hostile_name());
  }
  if (name == "replay-fine") {
    const OperationsReport log = samples::troubled_operations();
    return replay_json(samples::replay(2, 3, -1), "fine.h5", &log);
  }
  if (name == "convert") return convert_json(samples::conversion());
  if (name == "convert-lossy") {
    return convert_json(samples::lossy_conversion());
  }
  if (name.starts_with("diff")) {
    const std::string hostile = samples::hostile_name();
    if (name == "diff")
      return diff_json(samples::troubled_difference(), {hostile, hostile});
    DiffReport report = samples::difference(1);
    report.exact = name == "diff-exact";
    if (name == "diff-ulp") report.ulp = 2;
    return diff_json(report, {"a.h5", "b.h5"});
  }
  if (name == "stats")
    return stats_json(samples::statistics(), samples::hostile_name());
  if (name == "operations") {
    return operations_json(samples::troubled_operations(),
                           samples::hostile_name());
  }
  if (name == "insert") return insert_json({.slot = 2, .rows = 1}, {});
  if (name == "insert-refused") {
    return insert_json({.slot = -1, .refused = samples::hostile_name()},
                       {.cache = samples::hostile_name()});
  }
  if (name == "operations-fine") return operations_json({}, "fine.json");
  return "";
}

std::string picture(std::string_view name) {
  if (name == "svg-one") return replay_svg(samples::replay(1, 1, 0), "one");
  if (name == "svg-many") {
    return replay_svg(samples::replay(32, 2000, 700), "many");
  }
  if (name == "svg-hostile") {
    ReplayReport report = samples::troubled_replay();
    report.errors[0] = {1e-300, 1e300, 0, 1e-9, 2, 3, 4, 5, 6};
    return replay_svg(report, samples::hostile_name());
  }
  if (name == "svg-diff")
    return diff_svg(samples::difference(12), {"ref.h5", "test.h5"});
  if (name == "svg-diff-hostile")
    return diff_svg(samples::troubled_difference(),
                    {samples::hostile_name(), samples::hostile_name()});
  if (name == "svg-diff-empty") return diff_svg({}, {"a.h5", "a.h5"});
  if (name == "html-diff")
    return diff_html(samples::troubled_difference(),
                     {samples::hostile_name(), samples::hostile_name()});
  if (name == "svg-stats")
    return stats_svg(samples::statistics(), samples::hostile_name());
  if (name == "svg-empty") return replay_svg({}, "empty");
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string text = argc == 2 ? sample(argv[1]) + picture(argv[1]) : "";
  std::fwrite(text.data(), 1, text.size(), stdout);
  return text.empty() ? 2 : 0;
}
