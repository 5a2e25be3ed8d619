// kvtape info: what is inside cache files.
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/io.h"
#include "report/info.h"

namespace kvtape::cli {
namespace {

struct InfoOptions {
  std::vector<std::string> files;
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
                 const Common& common) {
  if (!text.empty()) text += '\n';
  text += info_text(tape, style_of(common));
}

Outcome run_info(const InfoOptions& options) {
  Outcome outcome;
  std::vector<NamedTape> kept;  // --json: one object of all
  ProgressLine line("info", options.common);
  for (const std::string& file : options.files) {
    try {
      NamedTape tape = opened(file);
      if (options.common.json)
        kept.push_back(std::move(tape));
      else if (!options.common.quiet)
        append_text(outcome.out, tape, options.common);
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
           "kvtape info --json *.h5       the same for scripts\n");
  add_files(app,
            {.names = "FILE",
             .help = "Cache files, HDF5 or JSON, or records of metadata in "
                     "JSON; - is standard input.",
             .value = "FILE"},
            options->files);
  add_report_options(app, options->common);
  return [options] { return run_info(*options); };
}

}  // namespace kvtape::cli
