// From the command line to what it asks for.
#include "cli/parse.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/arguments.h"
#include "cli/complete.h"
#include "cli/help.h"
#include "cli/usage.h"
#include "io/hdf5_process.h"
#include "kernels/kernels.h"
#include "kvtape/error.h"
#include "kvtape/version.h"

namespace kvtape::cli {
namespace {

constexpr const char* kExamples =
    "kvtape sample demo.h5      make a cache and a trace to try things on\n"
    "kvtape info demo.h5        what is inside\n"
    "kvtape validate demo.h5    is it sound\n"
    "kvtape replay demo.h5      does attention over it give what was "
    "recorded\n";

// What keeps a file from doing harm, or why HDF5 cannot be read here.
std::string hdf5_text() try {
  const Hdf5Process process(nullptr);
  const Hdf5Hello& hello = process.hello();
  return fmt::format(
      "HDF5 {}, in a process of its own: memory {}, system calls {}",
      hello.hdf5_version, hello.limits_memory ? "limited" : "not limited",
      hello.filters_calls ? "filtered" : "not filtered");
} catch (const Error& error) {
  return fmt::format("no HDF5: {}", error.what());
}

std::string version_text() {
  return fmt::format("kvtape {}\nfile format {}, kernel {}\n{}\n", kVersion,
                     kFormatVersion, kernels::active().name, hdf5_text());
}

bool is_command(const std::string& word) {
  return std::any_of(
      kCommands.begin(), kCommands.end(),
      [&](const Command& command) { return command.name == word; });
}

// `help COMMAND` is `COMMAND --help`, and `help help` is `help`.
void replace_help(std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.front() != "help") return;
  while (!arguments.empty() && arguments.front() == "help")
    arguments.erase(arguments.begin());
  arguments.resize(std::min<std::size_t>(arguments.size(), 1));
  arguments.emplace_back("--help");
}

// Names of files that the parser library takes for something else: "[x]" for a
// list, and what begins with "-" after "--" for options after all.
void protect_files(std::vector<std::string>& arguments) {
  const auto mark = std::find(arguments.begin(), arguments.end(), "--");
  for (auto argument = arguments.begin(); argument != arguments.end();
       ++argument) {
    const bool looks_like_option =
        argument->starts_with('-') && *argument != "-" && argument > mark;
    const bool looks_like_list =
        argument->starts_with('[') && argument->ends_with(']');
    if (looks_like_option || looks_like_list) argument->insert(0, "./");
  }
  if (mark != arguments.end()) arguments.erase(mark);
}

// A word that stands where a command should must be one: the parser library
// would not say which are.
std::vector<std::string> normalized(std::vector<std::string> arguments) {
  replace_help(arguments);
  if (!arguments.empty() && !arguments.front().starts_with('-') &&
      !is_command(arguments.front()))
    throw unknown_command(arguments.front());
  protect_files(arguments);
  return arguments;
}

// Completions are of all commands.
bool may_be_meant(const Command& command,
                  const std::vector<std::string>& arguments) {
  return std::any_of(
      arguments.begin(), arguments.end(), [&](const std::string& word) {
        return word == command.name || word.starts_with("--generate");
      });
}

CLI::App& chosen(CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : *commands.front();
}

Outcome run_chosen(const Program& program) {
  if (program.version) return {.out = version_text()};
  if (!program.generate.empty())
    return {.out = completions(*program.app, program.generate)};
  const std::string name = chosen(*program.app).get_name();
  for (std::size_t command = 0; command < kCommands.size(); ++command)
    if (kCommands[command].name == name) return program.actions[command]();
  throw Error(
      {.text = "no command given", .hint = command_list() + "   (kvtape -h)"});
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments)
    : app(std::make_unique<CLI::App>()) {
  app->name("kvtape");
  app->description(
      "Inspect, validate and replay dumped transformer key/value caches");
  app->footer(kExamples);
  app->set_help_flag("-h", "Show help on one screen.");
  app->set_help_all_flag("--help", "Show all help.");
  app->require_subcommand(0, 1);
  add_flag(*app, {"-V,--version", "Show the versions and the kernel in use."},
           version);
  add_choice(*app, {.names = "--generate", .help = "Print shell completions."},
             kCompletions,
             [this](std::size_t word) { generate = kCompletions[word]; });
  for (const Command& command : kCommands) {
    CLI::App* sub = app->add_subcommand(std::string(command.name),
                                        std::string(command.summary));
    actions.push_back(may_be_meant(command, arguments) ? command.declare(*sub)
                                                       : Action());
  }
}

Program::~Program() = default;

Outcome run_program(std::vector<std::string> arguments) {
  arguments = normalized(std::move(arguments));
  const Program program(arguments);
  CLI::App& app = *program.app;
  std::reverse(arguments.begin(), arguments.end());  // as the parser wants it
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return {.out = short_help(chosen(app))};
  } catch (const CLI::CallForAllHelp&) {
    return {.out = long_help(chosen(app))};
  } catch (const CLI::ParseError& error) {
    throw usage_error(error, chosen(app));
  }
  return run_chosen(program);
}

}  // namespace kvtape::cli
