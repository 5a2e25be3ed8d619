// kvtape dump: a cache as JSON, or as a table.
#include <array>
#include <memory>
#include <optional>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/transform.h"
#include "report/text.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 3> kValues{"none", "summary", "all"};
constexpr std::array<std::string_view, 2> kEncodings{"numbers", "base64"};
constexpr std::array<std::string_view, 3> kForms{"json", "ndjson", "csv"};

struct DumpCommand {
  std::string file;
  std::string output = std::string(kStandardOutput);
  std::string select;
  std::string values;
  std::string encoding;
  JsonForm form = JsonForm::kDocument;
  std::optional<std::int64_t> indent;
  bool no_trace = false;
  bool force = false;
  Common common;
};

// --encoding asks for all values; without either there is a summary.
Encoding encoding_of(const DumpCommand& command) {
  const bool all = command.values == "all";
  if (!command.encoding.empty()) {
    if (!command.values.empty() && !all)
      refuse_value("--encoding", "nothing with --values " + command.values,
                   command.encoding);
    return *encoding_from_name(command.encoding);
  }
  if (all) return Encoding::kNumbers;
  return command.values == "none" ? Encoding::kNone : Encoding::kSummary;
}

JsonOptions options_of(const DumpCommand& command) {
  if (command.indent && command.form != JsonForm::kDocument)
    throw Error({.text = "--indent is for --format json"});
  const Encoding encoding = encoding_of(command);
  if (encoding == Encoding::kBase64 && command.form == JsonForm::kTable)
    refuse_value("--encoding", "numbers with --format csv", "base64");
  return {.encoding = encoding,
          .form = command.form,
          .indent = static_cast<int>(command.indent.value_or(2)),
          .threads = static_cast<int>(command.common.threads)};
}

// What is not in the text although it is in the file.
std::vector<std::string> missing(const Tape& tape) {
  std::vector<std::string> result;
  for (const Finding& finding : tape.findings)
    if (finding.severity() == Severity::kError)
      result.push_back(finding.object + " " + finding.field);
  return result;
}

void say_left_out(const DumpCommand& command,
                  const std::vector<std::string>& missing,
                  const std::string& hint) {
  if (missing.empty()) return;
  constexpr std::size_t kMost = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, missing.size()); ++i)
    text += (i == 0 ? "" : ", ") + missing[i];
  if (missing.size() > kMost)
    text += " and " + std::to_string(missing.size() - kMost) + " more";
  print_error(
      Error({.file = command.file, .text = "left out: " + text, .hint = hint}));
}

Cut dumped(const DumpCommand& command, Tape tape) {
  if (command.no_trace) tape = without_trace(tape);
  if (command.select.empty()) return {.tape = std::move(tape), .left_out = {}};
  return select(tape, parse_selection(command.select));
}

Outcome run_dump(const DumpCommand& command) {
  JsonOptions options = options_of(command);
  TextOutput out(command.output, command.force, {command.file});
  ProgressLine line("dump " + command.file, command.common);
  options.progress = line.callback();
  std::vector<std::string> wrong;
  std::vector<std::string> uncut;
  try {
    TapeFile file = open_tape(command.file);
    wrong = missing(file.tape);
    const Cut cut = dumped(command, std::move(file.tape));
    uncut = cut.left_out;
    write_json(cut.tape, options,
               [&out](std::string_view text) { out.write(text); });
  } catch (const Error& error) {
    // What is said of no object is of the output.
    throw error.parts().object.empty() ? error : located(error, command.file);
  }
  out.commit();
  line.print_time();
  say_left_out(command, wrong, "kvtape validate says what is wrong");
  say_left_out(command, uncut, "--select cannot cut them");
  return {.status = wrong.empty() && uncut.empty() ? kGood : kBad};
}

void add_content(CLI::App& app, DumpCommand& command) {
  add_text(app,
           {"--select",
            "Dump a part. Layers, rows, heads and positions by number, as in "
            "layer=0:4,row=0,head=2,position=:16; ranges are half open, and "
            "negative numbers count from the end.",
            "WHAT"},
           command.select);
  add_flag(app, {"--no-trace", "Leave out the trace and the state after it."},
           command.no_trace);
  add_choice(app,
             {"--values",
              "What to tell of the numbers. \"none\": dtype, shape and axes "
              "only; \"summary\" (the default): also count, extremes, mean, "
              "deviation, zeros, NaN, Inf and a digest; \"all\": every one."},
             kValues,
             [&command](std::size_t word) { command.values = kValues[word]; });
  add_choice(app,
             {"--encoding",
              "How to spell all numbers. \"numbers\" (the default): the "
              "shortest decimals that read back to the same bits; \"base64\": "
              "their bytes, little-endian."},
             kEncodings, [&command](std::size_t word) {
               command.encoding = kEncodings[word];
             });
  add_choice(app,
             {"--format",
              "What to write. \"json\" (the default): one document, which "
              "every command reads; \"ndjson\": a line for each tensor; "
              "\"csv\": a table with a line for each number, or tensor."},
             kForms, [&command](std::size_t word) {
               command.form = static_cast<JsonForm>(word);
             });
  add_number(app,
             {"--indent",
              "Blanks of a level of the document. The default is 2; 0 writes "
              "it in one line.",
              "N"},
             command.indent, 0, 16);
}

}  // namespace

Action declare_dump(CLI::App& app) {
  const auto command = std::make_shared<DumpCommand>();
  describe(app,
           "Writes a cache as JSON: kvtape-json(5). With all values it is the "
           "same cache, to the bit, and every command reads it. It takes no "
           "more memory for a large cache than for a small one.",
           "kvtape dump run.h5                             what is in it\n"
           "kvtape dump run.h5 --values all -o run.json    the same cache\n"
           "kvtape dump run.h5 --encoding base64 -o b.json  small and fast\n"
           "kvtape dump run.h5 --format csv                one line a tensor\n"
           "kvtape dump run.h5 --select layer=0,head=1     a part of it\n");
  add_file(app, {.names = "FILE", .help = "A cache file.", .value = "FILE"},
           command->file);
  add_text(app,
           {"-o,--output",
            "Write to OUT, whole or not at all. The default, -, is standard "
            "output.",
            "OUT"},
           command->output);
  add_force(app, command->force);
  add_content(app, *command);
  add_work_options(app, command->common);
  return [command] { return run_dump(*command); };
}

}  // namespace kvtape::cli
