// Completion for fish.
#include <fmt/format.h>

#include "cli/complete_model.h"

namespace kvtape::cli {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char letter : text) {
    if (letter == '\'' || letter == '\\') out += '\\';
    out += letter;
  }
  return out + "'";
}

std::string line(const std::string& condition, const CompletionOption& option) {
  std::string text = "complete -c kvtape -n " + quoted(condition);
  for (const std::string& name : option.names)
    text += name.starts_with("--") ? " -l " + name.substr(2)
                                   : " -s " + name.substr(1);
  if (option.takes_file) text += " -r -F";
  if (option.takes_value && !option.takes_file) text += " -x";
  if (!option.words.empty()) text += " -a " + quoted(spaced(option.words));
  return text + " -d " + quoted(option.help) + "\n";
}

std::string command_line(const std::string& name, const std::string& summary) {
  return fmt::format(
      "complete -c kvtape -n __fish_use_subcommand -a {} -d {}\n", name,
      quoted(summary));
}

}  // namespace

std::string fish_completions(const CompletionModel& model) {
  std::string text =
      "# fish completion for kvtape\n"
      "complete -c kvtape -f\n";
  std::string names;
  for (const CompletionCommand& command : model.commands) {
    text += command_line(command.name, command.summary);
    names += (names.empty() ? "" : " ") + command.name;
  }
  text += command_line("help", "Show all help of a command");
  text += fmt::format(
      "complete -c kvtape -n '__fish_seen_subcommand_from help' -a '{}'\n"
      "complete -c kvtape -n '__fish_seen_subcommand_from {}; and not "
      "__fish_seen_subcommand_from help' -a '(__fish_complete_suffix .h5)'\n",
      names, names);
  for (const CompletionOption& option : model.root.options)
    text += line("__fish_use_subcommand", option);
  for (const CompletionCommand& command : model.commands)
    for (const CompletionOption& option : command.options)
      text += line("__fish_seen_subcommand_from " + command.name, option);
  return text;
}

}  // namespace kvtape::cli
