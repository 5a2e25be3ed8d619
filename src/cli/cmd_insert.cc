// kvtape insert: one cache into a slot of another.
#include <array>
#include <limits>
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "kvtape/insert.h"
#include "kvtape/io.h"
#include "report/insert.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 2> kModes{"checked", "faithful"};

struct InsertCommand {
  InsertFiles files;
  std::int64_t slot = 0;
  Mode mode = Mode::kChecked;
  bool force = false;
  Common common;
};

InsertReport inserted(const InsertCommand& command) {
  const Tape tape = read_tape(command.files.cache);
  const Tape other = read_tape(command.files.other);
  try {
    return insert(tape, other, command.slot, command.mode);
  } catch (const Error& error) {
    throw located(error, command.files.cache);
  }
}

Outcome run_insert(const InsertCommand& command) {
  check_cache_output(command.files.output, command.force,
                     {command.files.cache, command.files.other});
  ProgressLine line("insert " + command.files.cache, command.common);
  const InsertReport report = inserted(command);
  const bool done = report.refused.empty();
  if (done)
    write_tape(report.tape, command.files.output, {.force = command.force});
  line.print_time();
  const Common& common = command.common;
  Outcome outcome{.status = done ? kGood : kBad};
  if (common.json)
    outcome.out = insert_json(report, command.files);
  else if (!common.quiet)
    outcome.out = insert_text(report, command.files, style_of(common));
  return outcome;
}

void add_arguments(CLI::App& app, InsertFiles& files) {
  add_file(app,
           {.names = "CACHE",
            .help = "The cache that gets rows, HDF5 or JSON.",
            .value = "FILE"},
           files.cache);
  add_file(app,
           {.names = "OTHER",
            .help = "The cache whose rows it gets.",
            .value = "FILE"},
           files.other);
  add_file(app, {.names = "OUT", .help = "The file to write.", .value = "OUT"},
           files.output);
}

}  // namespace

Action declare_insert(CLI::App& app) {
  const auto command = std::make_shared<InsertCommand>();
  describe(
      app,
      "Writes the rows of one cache over those of another, from a slot "
      "on, as EasyDeL's TransformerCache.insert does for continuous "
      "batching: keys, values, index and starts of every layer, and rows "
      "of the attention mask and the tokens. What EasyDeL would do wrongly "
      "without a word is refused: a slot beyond the batch, a shorter "
      "cache, other layers, another form of storage.",
      "kvtape insert batch.h5 prefill.h5 out.h5 --slot 2\n"
      "kvtape insert batch.h5 prefill.h5 out.h5 --slot 9 --mode faithful\n");
  add_arguments(app, command->files);
  add_number(app,
             {"--slot",
              "The first row to write. The default is 0; in faithful mode, a "
              "negative one counts from the end.",
              "N"},
             command->slot, std::numeric_limits<std::int32_t>::min(),
             std::numeric_limits<std::int32_t>::max());
  add_choice(app,
             {"--mode",
              "What becomes of rows that do not fit. \"checked\" (the default) "
              "refuses them, \"faithful\" moves or cuts them as EasyDeL does."},
             kModes, [&target = command->mode](std::size_t mode) {
               target = static_cast<Mode>(mode);
             });
  add_force(app, command->force);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_insert(*command); };
}

}  // namespace kvtape::cli
