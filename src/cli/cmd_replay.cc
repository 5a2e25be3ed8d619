// kvtape replay: does attention over a cache give what the model gave?
#include <memory>
#include <optional>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/step_range.h"
#include "cli/verify.h"
#include "kvtape/io.h"
#include "kvtape/replay.h"
#include "kvtape/replay_hidden.h"
#include "kvtape/replay_operations.h"
#include "kvtape/transform.h"
#include "report/operations.h"
#include "report/replay.h"
#include "report/replay_hidden.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 2> kModes{"checked", "faithful"};
constexpr std::array<std::string_view, 2> kSources{"queries", "hidden"};

struct ReplayCommand {
  std::string file;
  std::string cache;
  std::string steps;
  std::string write;
  std::string svg;
  bool force = false;
  bool from_hidden = false;
  bool verify = false;
  ReplayOptions options;
  Common common;
};

Tape opened(const ReplayCommand& command) {
  Tape tape = read_tape(command.file);
  if (command.verify)
    verify_digests(tape, command.file, command.common.threads);
  if (command.cache.empty()) return tape;
  Tape other = read_tape(command.cache);
  if (command.verify)
    verify_digests(other, command.cache, command.common.threads);
  tape.cache = std::move(other.cache);
  return tape;
}

ReplayOptions options_for(const ReplayCommand& command, const Tape& tape,
                          ProgressLine& line) {
  ReplayOptions options = command.options;
  options.threads = static_cast<int>(command.common.threads);
  options.keep = !command.write.empty();
  options.progress = line.callback();
  if (!command.steps.empty()) {
    const StepRange range = step_range(command.steps, tape);
    options.first_step = range.first;
    options.last_step = range.last;
  }
  return options;
}

// What contradicts itself is best seen by the rules.
template <typename Work>
auto explained(const ReplayCommand& command, ProgressLine& line,
               const Work& work) {
  try {
    auto report = work();
    line.print_time();
    return report;
  } catch (const Error& error) {
    ErrorParts parts = located(error, command.file).parts();
    if (parts.hint.empty() && !parts.file.empty())
      parts.hint = "Try: kvtape validate " + command.file;
    throw Error(parts);
  }
}

ReplayReport replayed(const ReplayCommand& command, const Tape& tape) {
  ProgressLine line("replay " + command.file, command.common);
  const ReplayOptions options = options_for(command, tape, line);
  return explained(command, line, [&] { return replay(tape, options); });
}

OperationsReport replayed_log(const ReplayCommand& command, const Tape& tape) {
  ProgressLine line("replay " + command.file, command.common);
  const bool checked = command.options.mode == ReplayOptions::Mode::kChecked;
  const OperationsOptions options{
      .mode = checked ? Mode::kChecked : Mode::kFaithful,
      .progress = line.callback()};
  return explained(command, line,
                   [&] { return replay_operations(tape, options); });
}

// Before the work, not after it.
void check_outputs(const ReplayCommand& command) {
  std::vector<std::string> inputs{command.file};
  if (!command.cache.empty()) inputs.push_back(command.cache);
  if (command.svg == kStandardOutput && command.common.json)
    throw Error({.text = "--svg - and --json both ask for standard output"});
  if (!command.svg.empty() && command.svg != kStandardOutput)
    check_output(command.svg, command.force, inputs);
  if (!command.write.empty())
    check_cache_output(command.write, command.force, inputs);
  if (!command.write.empty() && command.write == command.svg)
    throw Error({.file = command.svg, .text = "is written twice"});
}

// Of the steps, and of the log beside them.
std::string text_of(const ReplayReport& report, const OperationsReport* log,
                    const ReplayCommand& command) {
  if (command.common.quiet) return "";
  if (command.common.json) return replay_json(report, command.file, log);
  const TextStyle style = style_of(command.common);
  std::string text = replay_text(report, command.file, style);
  if (log != nullptr) text += '\n' + operations_text(*log, command.file, style);
  return text;
}

std::string text_of(const OperationsReport& report,
                    const ReplayCommand& command) {
  if (command.common.quiet) return "";
  if (command.common.json) return operations_json(report, command.file);
  return operations_text(report, command.file, style_of(command.common));
}

void check_no_steps_asked(const ReplayCommand& command) {
  for (const auto& [option, given] :
       {std::pair("--steps", !command.steps.empty()),
        std::pair("--svg", !command.svg.empty()),
        std::pair("--rtol", command.options.rtol.has_value()),
        std::pair("--atol", command.options.atol.has_value())})
    if (given)
      throw Error(
          {.file = command.file,
           .object = "/trace",
           .text = std::string("holds operations and no steps, which ") +
                   option + " is for"});
}

WriteOptions write_options(const ReplayCommand& command) {
  return {.force = command.force,
          .threads = static_cast<int>(command.common.threads)};
}

Outcome run_log(const ReplayCommand& command, const Tape& tape) {
  check_no_steps_asked(command);
  const OperationsReport report = replayed_log(command, tape);
  if (!command.write.empty()) {
    Tape after = without_trace(tape);  // which has been done
    after.cache = report.cache;
    write_tape(after, command.write, write_options(command));
  }
  return {.status = report.success() ? kGood : kBad,
          .out = text_of(report, command)};
}

Outcome run_steps(const ReplayCommand& command, const Tape& tape) {
  const ReplayReport report = replayed(command, tape);
  std::optional<OperationsReport> log;
  if (!tape.trace->operations.empty()) log = replayed_log(command, tape);
  if (report.replayed)
    write_tape(*report.replayed, command.write, write_options(command));
  const bool good = report.success() && (!log || log->success());
  const int status = good ? kGood : kBad;
  if (command.svg == kStandardOutput)
    return {.status = status, .out = replay_svg(report, command.file)};
  if (!command.svg.empty())
    write_text(command.svg, replay_svg(report, command.file), command.force);
  return {.status = status,
          .out = text_of(report, log ? &*log : nullptr, command)};
}

Outcome run_hidden(const ReplayCommand& command, const Tape& tape) {
  for (const auto& [option, given] :
       {std::pair("--steps", !command.steps.empty()),
        std::pair("--svg", !command.svg.empty()),
        std::pair("--write", !command.write.empty())})
    if (given)
      throw Error({.text = std::string(option) +
                           " is not for --from hidden, which replays the whole "
                           "trace twice"});
  ProgressLine line("replay " + command.file, command.common);
  ReplayOptions options = command.options;
  options.threads = static_cast<int>(command.common.threads);
  const HiddenReport report =
      explained(command, line, [&] { return replay_hidden(tape, options); });
  std::string text;
  if (!command.common.quiet)
    text = command.common.json
               ? hidden_json(report, command.file)
               : hidden_text(report, command.file, style_of(command.common));
  return {.status = report.success() ? kGood : kBad, .out = std::move(text)};
}

Outcome run_replay(const ReplayCommand& command) {
  check_outputs(command);
  const Tape tape = opened(command);
  if (command.from_hidden) return run_hidden(command, tape);
  return tape.trace && has_only_operations(*tape.trace)
             ? run_log(command, tape)
             : run_steps(command, tape);
}

void add_comparison(CLI::App& app, ReplayCommand& command) {
  ReplayOptions& options = command.options;
  add_choice(app,
             {"--from",
              "What a replay begins with. \"queries\" (the default) are those "
              "of the trace. \"hidden\" are a layer's hidden states and "
              "weights: attention is done with the cache and without it, and "
              "where the two part is told."},
             kSources,
             [&command](std::size_t from) { command.from_hidden = from == 1; });
  add_choice(app,
             {"--mode",
              "What a write that the system would clamp is. \"checked\" (the "
              "default) makes it a finding, \"faithful\" does as the system "
              "does."},
             kModes, [&options](std::size_t mode) {
               options.mode = static_cast<ReplayOptions::Mode>(mode);
             });
  add_text(app,
           {"--steps",
            "Compare these steps only. Half open, as in Python: 10:20, :5, "
            "-1: is the last one.",
            "A:B"},
           command.steps);
  add_real(app,
           {"--rtol",
            "Relative tolerance. |actual - expected| may be atol + rtol * "
            "|expected|. The default goes by the dtype of the cache (f16 1e-3, "
            "bf16 1.6e-2, else 1.3e-6); 0 if only --atol is given.",
            "R"},
           options.rtol);
  add_real(app,
           {"--atol",
            "Absolute tolerance. The default is 1e-5; 0 if only --rtol is "
            "given.",
            "A"},
           options.atol);
  add_flag(app, {"--fail-fast", "Stop after the first layer out of tolerance."},
           options.fail_fast);
}

void add_outputs(CLI::App& app, ReplayCommand& command) {
  add_verify(app, command.verify);
  add_text(app,
           {"--write",
            "Write the replayed tape to OUT. It holds the computed outputs and "
            "the final cache.",
            "OUT"},
           command.write);
  add_text(app,
           {"--svg",
            "Draw the error against the step. OUT is an SVG picture; - is "
            "standard output, instead of the text.",
            "OUT"},
           command.svg);
  add_force(app, command.force);
}

}  // namespace

Action declare_replay(CLI::App& app) {
  const auto command = std::make_shared<ReplayCommand>();
  describe(
      app,
      "Plays the recorded steps again: writes their keys and values to "
      "the cache, computes attention in f32 from the recorded queries, "
      "and compares with the recorded outputs and the recorded final "
      "cache. The result is the same to the bit on any CPU and with any "
      "number of threads. A file that holds a log of operations instead of "
      "steps has them done one after the other, and what each gives is "
      "compared with what was recorded of it.",
      "kvtape replay run.h5                     the verdict\n"
      "kvtape replay -v run.h5                  every step and layer\n"
      "kvtape replay --steps 4:8 run.h5         a part of it\n"
      "kvtape replay --svg error.svg run.h5     the same as a picture\n");
  add_file(app,
           {.names = "FILE", .help = "A cache with a trace.", .value = "FILE"},
           command->file);
  add_text(app, {"--cache", "Take the cache from another file.", "FILE"},
           command->cache);
  add_comparison(app, *command);
  add_outputs(app, *command);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_replay(*command); };
}

}  // namespace kvtape::cli
