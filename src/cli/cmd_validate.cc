// kvtape validate: is a cache sound?
#include <algorithm>
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/io.h"
#include "report/json.h"
#include "report/validation.h"

namespace kvtape::cli {
namespace {

struct ValidateCommand {
  std::vector<std::string> files;
  bool strict = false;
  bool values = false;
  bool rules = false;
  bool create = false;
  std::int64_t max_issues = 100;
  Common common;
};

NamedValidation validated(const std::string& file,
                          const ValidateCommand& command) {
  ProgressLine line("validate " + file, command.common);
  TapeFile opened = open_tape(file);
  const int threads = static_cast<int>(command.common.threads);
  if (command.values)
    for (Finding& finding : digest_findings(opened.tape, threads))
      opened.tape.findings.push_back(std::move(finding));
  const bool record = opened.format == TapeFile::Format::kJsonMetadata;
  NamedValidation result{
      .file = file,
      .report = validate(opened.tape, {.values = command.values,
                                       .threads = threads,
                                       .metadata_only = record,
                                       .progress = line.callback()})};
  line.print_time();
  return result;
}

int status_of(const ValidationReport& report, bool strict) {
  const bool bad =
      std::any_of(report.findings.begin(), report.findings.end(),
                  [&](const Finding& finding) {
                    return strict || finding.severity() == Severity::kError;
                  });
  return bad ? kBad : kGood;
}

std::string text_of(const std::vector<NamedValidation>& validations,
                    const ValidateCommand& command) {
  if (command.common.json) return validation_json(validations);
  std::string text;
  for (const NamedValidation& validation : validations)
    text += validation_text(validation, style_of(command.common),
                            static_cast<int>(command.max_issues));
  return text;
}

Outcome print_rules(const Common& common) {
  if (common.quiet) return {};
  return {.out = common.json ? rules_json() : rules_text(style_of(common))};
}

// What EasyDeL's create() gives for the metadata of a file, or why it refuses
// them; the reader has found what cannot be given to it at all.
Outcome created(const Tape& tape) {
  for (const Finding& finding : tape.findings)
    if (finding.object == "/metadata")
      return {.status = kBad,
              .out = finding.field + ": expected " + finding.expected +
                     ", found " + finding.found + "\n"};
  try {
    return {.out = json_text(
                metadata_json(CacheMetadata::create(tape.cache.metadata)))};
  } catch (const Error& error) {
    return {.status = kBad, .out = std::string(error.what()) + "\n"};
  }
}

Outcome create_all(const ValidateCommand& command) {
  Outcome outcome;
  for (const std::string& file : command.files) {
    Outcome one{.status = kTrouble};
    try {
      one = created(read_tape(file));
    } catch (const Error& error) {
      print_error(located(error, file));
    }
    outcome.status = std::max(outcome.status, one.status);
    if (!command.common.quiet) outcome.out += one.out;
  }
  return outcome;
}

Outcome run_validate(const ValidateCommand& command) {
  if (command.rules) return print_rules(command.common);
  if (command.files.empty())
    throw Error({.text = "FILE is required",
                 .hint = "usage: kvtape validate [OPTION]... FILE...   "
                         "(kvtape validate -h)"});
  if (command.create) return create_all(command);
  Outcome outcome;
  std::vector<NamedValidation> validations;
  for (const std::string& file : command.files) {
    int status = kTrouble;
    try {
      validations.push_back(validated(file, command));
      status = status_of(validations.back().report, command.strict);
    } catch (const Error& error) {
      print_error(located(error, file));
    }
    outcome.status = std::max(outcome.status, status);
  }
  if (!command.common.quiet && !validations.empty())
    outcome.out = text_of(validations, command);
  return outcome;
}

}  // namespace

Action declare_validate(CLI::App& app) {
  const auto command = std::make_shared<ValidateCommand>();
  describe(app,
           "Tries every rule and prints all findings, each with what was "
           "expected, what was found and how to mend it. Without --values no "
           "tensor is read.",
           "kvtape validate run.h5              is it sound\n"
           "kvtape validate --values run.h5     also read every tensor\n"
           "kvtape validate --strict -q *.h5    for scripts: the status tells\n"
           "kvtape validate meta.json --create  what EasyDeL makes of it\n"
           "kvtape validate --rules             what is looked for\n");
  add_files(app,
            {.names = "FILE",
             .help = "Cache files, HDF5 or JSON, or records of metadata in "
                     "JSON; - is standard input.",
             .value = "FILE"},
            command->files, false);
  add_flag(app, {"--values", "Read the tensors too: NaN, Inf, digests, slots."},
           command->values);
  add_flag(app, {"--strict", "Let warnings count as errors."}, command->strict);
  add_number(app,
             {"--max-issues",
              "Findings to print of each file. The default is 100; 0 is all of "
              "them, as --json always prints.",
              "N"},
             command->max_issues, 0, 1'000'000'000);
  add_flag(app,
           {"--create",
            "Print the metadata as EasyDeL's create() completes them, in JSON, "
            "or the reason why it refuses them."},
           command->create);
  add_flag(app, {"--rules", "List the rules instead."}, command->rules);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_validate(*command); };
}

}  // namespace kvtape::cli
