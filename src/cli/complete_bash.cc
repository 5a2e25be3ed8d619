// Completion for bash.
#include <fmt/format.h>

#include "cli/complete_model.h"

namespace kvtape::cli {
namespace {

constexpr const char* kHead = R"(# bash completion for kvtape
_kvtape() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local command=${COMP_WORDS[1]} words=
  # "--mode=x" comes as three words.
  if [[ $cur == '=' ]]; then
    cur=
  elif [[ $prev == '=' ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  COMPREPLY=()
)";

constexpr const char* kTail = R"(  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  else
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -X '!*.h5' -- "$cur"; compgen -d -- "$cur")
  fi
}
complete -F _kvtape kvtape
)";

std::string option_names(const CompletionCommand& command) {
  std::vector<std::string> names;
  for (const CompletionOption& option : command.options)
    names.insert(names.end(), option.names.begin(), option.names.end());
  return spaced(names);
}

// The first word: a command, or an option of the program.
std::string first_word(const CompletionModel& model) {
  std::vector<std::string> names{"help"};
  for (const CompletionCommand& command : model.commands)
    names.push_back(command.name);
  const std::string commands = spaced(names);
  return fmt::format(
      "  if [[ $COMP_CWORD -eq 1 || ( $command == help && $COMP_CWORD -eq 2 ) "
      "]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '{} {}' -- \"$cur\")\n"
      "    return\n"
      "  fi\n",
      commands, option_names(model.root));
}

// One case for each option that has a value.
std::string value_cases(const CompletionCommand& command) {
  std::string text;
  for (const CompletionOption& option : command.options) {
    if (!option.takes_value) continue;
    for (const std::string& name : option.names) {
      // An option of the program itself stands where a command would.
      const bool of_program = command.name == "kvtape";
      text +=
          fmt::format("    '{} {}')", of_program ? name : command.name, name);
      if (option.takes_file)
        text +=
            " compopt -o filenames\n"
            "      mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
      else if (!option.words.empty())
        text += fmt::format(
            "\n      mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")",
            spaced(option.words));
      text += "\n      return ;;\n";
    }
  }
  return text;
}

}  // namespace

std::string spaced(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string bash_completions(const CompletionModel& model) {
  std::string text = kHead;
  text += "  case \"$command $prev\" in\n";
  text += value_cases(model.root);
  for (const CompletionCommand& command : model.commands)
    text += value_cases(command);
  text += "  esac\n" + first_word(model) + "  case $command in\n";
  for (const CompletionCommand& command : model.commands)
    text += fmt::format("    {}) words='{}' ;;\n", command.name,
                        option_names(command));
  return text + "  esac\n" + kTail;
}

}  // namespace kvtape::cli
