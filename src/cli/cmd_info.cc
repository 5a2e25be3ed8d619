// kvtape info: what is inside cache files.
#include <array>
#include <memory>
#include <optional>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/io.h"
#include "report/info.h"
#include "report/info_as.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 3> kSystems{"easydel", "penzai",
                                                   "transformer_lens"};

struct InfoOptions {
  std::vector<std::string> files;
  std::optional<System> system;  // in whose words
  Common common;
};

NamedTape opened(const std::string& file) {
  TapeFile opened = open_tape(file);
  return {
      .file = file,
      .file_format = opened.format == TapeFile::Format::kHdf5 ? "HDF5" : "JSON",
      .file_bytes = opened.bytes,
      .tape = std::move(opened.tape)};
}

void append_text(std::string& text, const NamedTape& tape,
                 const InfoOptions& options) {
  if (!text.empty()) text += '\n';
  const TextStyle style = style_of(options.common);
  text += options.system ? info_text_as(tape, *options.system, style)
                         : info_text(tape, style);
}

Outcome run_info(const InfoOptions& options) {
  if (options.system && options.common.json)
    throw Error({.text = "--as has no meaning with --json"});
  Outcome outcome;
  std::vector<NamedTape> kept;  // --json: one object of all
  ProgressLine line("info", options.common);
  for (const std::string& file : options.files) {
    try {
      NamedTape tape = opened(file);
      if (options.common.json)
        kept.push_back(std::move(tape));
      else if (!options.common.quiet)
        append_text(outcome.out, tape, options);
    } catch (const Error& error) {
      print_error(located(error, file));
      outcome.status = kTrouble;
    }
  }
  if (!kept.empty() && !options.common.quiet) outcome.out = info_json(kept);
  line.print_time();
  return outcome;
}

}  // namespace

Action declare_info(CLI::App& app) {
  const auto options = std::make_shared<InfoOptions>();
  describe(app,
           "Reads the description of a cache and no tensor, so it is instant "
           "at any size. Layers that look alike are folded into one row.",
           "kvtape info run.h5            what is inside\n"
           "kvtape info -v run.h5         one row for each layer\n"
           "kvtape info --json *.h5       the same for scripts\n"
           "kvtape info --as easydel run.h5    its classes and fields\n");
  add_files(app,
            {.names = "FILE",
             .help = "Cache files, HDF5 or JSON, or records of metadata in "
                     "JSON; - is standard input.",
             .value = "FILE"},
            options->files);
  add_choice(app,
             {"--as",
              "Show the classes and fields of a system. What of the cache has "
              "no place there is said."},
             kSystems, [&system = options->system](std::size_t word) {
               system = static_cast<System>(word);
             });
  add_report_options(app, options->common);
  return [options] { return run_info(*options); };
}

}  // namespace kvtape::cli
