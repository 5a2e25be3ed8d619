// kvtape info: what is inside cache files.
#include <filesystem>
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
  NamedTape named{.file = file, .tape = read_tape(file)};
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(file, ignored);
  if (!ignored) named.file_bytes = static_cast<std::int64_t>(bytes);
  return named;
}

std::string text_of(const std::vector<NamedTape>& tapes, const Common& common) {
  if (common.json) return info_json(tapes);
  std::string text;
  for (const NamedTape& tape : tapes) {
    if (!text.empty()) text += '\n';
    text += info_text(tape, style_of(common));
  }
  return text;
}

Outcome run_info(const InfoOptions& options) {
  Outcome outcome;
  std::vector<NamedTape> tapes;
  ProgressLine line("info", options.common);
  for (const std::string& file : options.files) {
    try {
      tapes.push_back(opened(file));
    } catch (const Error& error) {
      print_error(located(error, file));
      outcome.status = kTrouble;
    }
  }
  if (!options.common.quiet && !tapes.empty())
    outcome.out = text_of(tapes, options.common);
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
  add_files(app, {.names = "FILE", .help = "Cache files.", .value = "FILE"},
            options->files);
  add_report_options(app, options->common);
  return [options] { return run_info(*options); };
}

}  // namespace kvtape::cli
