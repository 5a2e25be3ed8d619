// kvtape diff: where two caches part, and how badly.
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verify.h"
#include "kvtape/diff.h"
#include "kvtape/io.h"
#include "report/diff.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 4> kAligns{"position", "start", "end",
                                                  "tokens"};

struct DiffCommand {
  DiffNames names;
  std::string queries;
  std::string select;
  std::string svg;
  std::string html;
  bool explain = false;
  bool verify = false;
  bool force = false;
  DiffOptions options;
  Common common;
};

void check_options(const DiffCommand& command) {
  const DiffOptions& options = command.options;
  const int rules = (options.exact ? 1 : 0) + (options.ulp ? 1 : 0) +
                    (options.rtol || options.atol ? 1 : 0);
  if (rules > 1)
    throw Error({.text = "--exact, --ulp and --rtol with --atol are three "
                         "rules, of which one can hold"});
  if (options.dead && options.align != DiffAlign::kPosition)
    throw Error({.text = "--dead compares slots by their numbers, which "
                         "--align cannot change"});
  if (command.names.expected == kStandardOutput &&
      command.names.actual == kStandardOutput)
    throw Error({.text = "standard input can be one of the two files, not "
                         "both"});
}

std::string text_of(const DiffReport& report, const DiffCommand& command) {
  if (command.common.quiet) return "";
  if (command.common.json) return diff_json(report, command.names);
  std::string text = diff_text(report, command.names, style_of(command.common));
  if (command.explain && report.explanation)
    text += explain_text(*report.explanation);
  return text;
}

DiffReport compared(const DiffCommand& command) {
  const Tape expected = read_tape(command.names.expected);
  const Tape actual = read_tape(command.names.actual);
  if (command.verify) {
    verify_digests(expected, command.names.expected, command.common.threads);
    verify_digests(actual, command.names.actual, command.common.threads);
  }
  std::optional<Tape> queries;
  if (!command.queries.empty()) queries = read_tape(command.queries);
  ProgressLine line("diff " + command.names.actual, command.common);
  DiffOptions options = command.options;
  if (!command.select.empty())
    options.selection = parse_selection(command.select);
  if (queries) options.queries = &*queries;
  options.explain = !command.common.quiet || !command.html.empty();
  options.threads = static_cast<int>(command.common.threads);
  options.progress = line.callback();
  DiffReport report = diff(expected, actual, options);
  line.print_time();
  return report;
}

// Before the work, not after it.
void check_outputs(const DiffCommand& command) {
  std::vector<std::string> inputs{command.names.expected, command.names.actual};
  if (!command.queries.empty()) inputs.push_back(command.queries);
  for (const std::string& output : {command.svg, command.html})
    if (!output.empty()) check_output(output, command.force, inputs);
  if (!command.svg.empty() && command.svg == command.html)
    throw Error({.file = command.svg, .text = "is written twice"});
}

Outcome run_diff(const DiffCommand& command) {
  check_options(command);
  check_outputs(command);
  const DiffReport report = compared(command);
  if (!command.svg.empty())
    write_text(command.svg, diff_svg(report, command.names), command.force);
  if (!command.html.empty())
    write_text(command.html, diff_html(report, command.names), command.force);
  return {.status = report.success() ? kGood : kBad,
          .out = text_of(report, command)};
}

void add_rules(CLI::App& app, DiffOptions& options) {
  add_real(app,
           {"--rtol",
            "Relative tolerance. |actual - expected| may be atol + rtol * "
            "|expected|. The default goes by the coarser dtype of the two (f16 "
            "1e-3, bf16 1.6e-2, else 1.3e-6); 0 if only --atol is given.",
            "R"},
           options.rtol);
  add_real(app,
           {"--atol",
            "Absolute tolerance. The default is 1e-5; 0 if only --rtol is "
            "given.",
            "A"},
           options.atol);
  add_real(app,
           {"--ulp",
            "Allow N units in the last place. They are those of the coarser "
            "dtype of the two tensors, at the expected number.",
            "N"},
           options.ulp);
  add_flag(
      app,
      {"--exact", "Compare bits. -0 is not 0 then, and NaN payloads count."},
      options.exact);
  add_flag(app,
           {"--nan-differs",
            "NaN is not equal to NaN. Without it, it is where both have one."},
           options.nan_differs);
}

void add_scope(CLI::App& app, DiffCommand& command) {
  DiffOptions& options = command.options;
  add_choice(app,
             {"--align",
              "Which slots meet: those of the same position, or counted from "
              "the start or the end of what is live, or where the tokens have "
              "their longest common run."},
             kAligns, [&options](std::size_t align) {
               options.align = static_cast<DiffAlign>(align);
             });
  add_flag(app, {"--dead", "Compare all slots, also those that hold no token."},
           options.dead);
  add_text(app,
           {"--select",
            "Compare a part. A list of layer, row, head, position and kind, "
            "like layer=0:4,head=2,kind=key, ranges as in Python.",
            "PART"},
           command.select);
  add_verify(app, command.verify);
  add_flag(app, {"--explain", "Show how well each known mistake fits."},
           command.explain);
  add_text(app,
           {"--queries",
            "Compare attention outputs for the queries of this file. Without "
            "it they come from the trace of EXPECTED, or of ACTUAL.",
            "FILE"},
           command.queries);
}

}  // namespace

Action declare_diff(CLI::App& app) {
  const auto command = std::make_shared<DiffCommand>();
  describe(
      app,
      "Compares two caches: what they say of themselves, then the numbers of "
      "their live slots, whatever their dtypes, order of axes, quantization "
      "and file formats. Says where a decode would meet the first difference, "
      "how large the errors are per layer and head, whether rounding explains "
      "them, and what they do to attention. Exit status: 0 same, 1 different "
      "or not comparable, 2 trouble.",
      "kvtape diff run.h5 run42.h5              where they part\n"
      "kvtape diff -v run.h5 run42.h5           every head\n"
      "kvtape diff --exact run.h5 run42.h5      bit for bit\n"
      "kvtape diff --align end run.h5 run42.h5  other padding\n");
  add_file(app,
           {.names = "EXPECTED",
            .help = "The cache to compare with; - is standard input.",
            .value = "FILE"},
           command->names.expected);
  add_file(
      app,
      {.names = "ACTUAL", .help = "The cache in question.", .value = "FILE"},
      command->names.actual);
  add_rules(app, command->options);
  add_scope(app, *command);
  add_text(app,
           {"--svg",
            "Draw layers, heads and errors. OUT is an SVG picture with numbers "
            "on hover.",
            "OUT"},
           command->svg);
  add_text(app,
           {"--html",
            "Write the picture with the tables. OUT is one HTML file without "
            "scripts.",
            "OUT"},
           command->html);
  add_force(app, command->force);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_diff(*command); };
}

}  // namespace kvtape::cli
