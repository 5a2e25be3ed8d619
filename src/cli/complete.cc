// Shell completions, from the declarations of the commands.
#include "cli/complete.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "cli/commands.h"
#include "cli/complete_model.h"

namespace kvtape::cli {
namespace {

CompletionOption option_of(const CLI::Option& option) {
  CompletionOption result;
  for (const std::string& name : option.get_snames())
    result.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames())
    result.names.push_back("--" + name);
  const std::string help = option.get_description();
  result.help =
      help.substr(0, std::min(help.find(". "), help.find_last_of('.')));
  result.takes_value = option.get_items_expected_max() > 0;
  const std::string value = option.get_type_name();
  result.takes_file = value == "FILE" || value == "OUT";
  if (value.find('|') != std::string::npos)
    result.words = CLI::detail::split(value, '|');
  return result;
}

CompletionCommand command_of(const CLI::App& app) {
  CompletionCommand command{.name = app.get_name()};
  const std::string text = app.get_description();
  command.summary = text.substr(0, text.find('\n'));
  for (const CLI::Option* option : app.get_options())
    if (option->nonpositional()) command.options.push_back(option_of(*option));
  return command;
}

CompletionModel model_of(const CLI::App& app) {
  CompletionModel model{.root = command_of(app)};
  for (const CLI::App* sub : app.get_subcommands(nullptr))
    model.commands.push_back(command_of(*sub));
  return model;
}

}  // namespace

std::string completions(const CLI::App& app, const std::string& kind) {
  const CompletionModel model = model_of(app);
  if (kind == "complete-zsh") return zsh_completions(model);
  if (kind == "complete-fish") return fish_completions(model);
  return bash_completions(model);
}

}  // namespace kvtape::cli
