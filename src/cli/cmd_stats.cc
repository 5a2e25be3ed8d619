// kvtape stats: what the numbers of a cache look like.
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/io.h"
#include "kvtape/stats.h"
#include "report/stats.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 4> kWords{"layer", "head", "position",
                                                 "channel"};

struct StatsCommand {
  std::string file;
  std::string select;
  std::string svg;
  bool csv = false;
  bool histograms = false;
  bool force = false;
  StatsOptions options;
  Common common;
};

void check_options(const StatsCommand& command) {
  if (command.csv && command.common.json)
    throw Error({.text = "--csv and --json both ask for standard output"});
  const StatsBy by = command.options.by;
  if (!command.svg.empty() && by != StatsBy::kLayer && by != StatsBy::kHead)
    throw Error({.text = "--svg draws histograms, which there are by layer and "
                         "by head"});
  if (!command.svg.empty())
    check_output(command.svg, command.force, {command.file});
}

std::string text_of(const StatsReport& report, const StatsCommand& command) {
  if (command.common.quiet) return "";
  if (command.common.json) return stats_json(report, command.file);
  if (command.csv) return stats_csv(report);
  return stats_text(report, command.file, command.histograms,
                    style_of(command.common));
}

StatsReport computed(const StatsCommand& command) {
  const Tape tape = read_tape(command.file);
  ProgressLine line("stats " + command.file, command.common);
  StatsOptions options = command.options;
  if (!command.select.empty())
    options.selection = parse_selection(command.select);
  options.threads = static_cast<int>(command.common.threads);
  options.progress = line.callback();
  try {
    StatsReport report = stats(tape, options);
    line.print_time();
    return report;
  } catch (const Error& error) {
    throw located(error, command.file);
  }
}

Outcome run_stats(const StatsCommand& command) {
  check_options(command);
  const StatsReport report = computed(command);
  if (!command.svg.empty())
    write_text(command.svg, stats_svg(report, command.file), command.force);
  return {.status = kGood, .out = text_of(report, command)};
}

void add_scope(CLI::App& app, StatsCommand& command) {
  StatsOptions& options = command.options;
  add_choice(app,
             {"--by",
              "What a row is about. The default is a layer's keys or "
              "values."},
             kWords, [&options](std::size_t by) {
               options.by = static_cast<StatsBy>(by);
             });
  add_flag(app, {"--dead", "Count all slots, also those that hold no token."},
           options.dead);
  add_text(app,
           {"--select",
            "Count a part. A list of layer, row, head, position and kind, like "
            "layer=0:4,head=2,kind=key, ranges as in Python.",
            "PART"},
           command.select);
}

}  // namespace

Action declare_stats(CLI::App& app) {
  const auto command = std::make_shared<StatsCommand>();
  describe(
      app,
      "Shows what the numbers in the live slots of a cache look like: mean, "
      "spread, extremes, quantiles of |x|, lengths of token vectors, zeros, "
      "NaN, Inf, and their distribution; and names what catches the eye: a "
      "layer or a head of zeros, a dimension far larger than the others.",
      "kvtape stats run.h5                      a row for each layer\n"
      "kvtape stats --by head run.h5            and for each head\n"
      "kvtape stats --hist run.h5               larger histograms\n"
      "kvtape stats --csv run.h5                for other programs\n");
  add_file(app,
           {.names = "FILE",
            .help = "The cache; - is standard input.",
            .value = "FILE"},
           command->file);
  add_scope(app, *command);
  add_flag(app, {"--hist", "Draw the distributions larger, below the table."},
           command->histograms);
  add_flag(app, {"--csv", "Print a table for other programs."}, command->csv);
  add_text(app,
           {"--svg",
            "Draw a histogram for each row. OUT is an SVG picture with numbers "
            "on hover.",
            "OUT"},
           command->svg);
  add_force(app, command->force);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_stats(*command); };
}

}  // namespace kvtape::cli
