// Completion for zsh.
#include <fmt/format.h>

#include "cli/complete_model.h"

namespace kvtape::cli {
namespace {

// Text between single quotes inside "[...]" of an _arguments specification.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char letter : text) {
    if (letter == '\'')
      out += "'\\''";
    else if (letter == '[' || letter == ']' || letter == ':')
      out += std::string("\\") + letter;
    else
      out += letter;
  }
  return out;
}

// ":words:(a b)" after an option that has a value.
std::string value_of(const CompletionOption& option) {
  if (!option.takes_value) return "";
  if (option.takes_file) return ":file:_files";
  if (option.words.empty()) return ":value: ";
  return fmt::format(":value:({})", spaced(option.words));
}

// '(-q --quiet)'{-q,--quiet}'[help]', or '--mode=[help]:value:(a b)'
std::string argument(const CompletionOption& option) {
  std::string names;
  for (const std::string& name : option.names) {
    const bool joined = option.takes_value && name.starts_with("--");
    names += (names.empty() ? "" : ",") + name + (joined ? "=" : "");
  }
  const std::string rest =
      fmt::format("[{}]{}'", quoted(option.help), value_of(option));
  if (option.names.size() == 1) return "'" + names + rest;
  return fmt::format("'({})'{{{}}}'{}", spaced(option.names), names, rest);
}

std::string arguments_of(const CompletionCommand& command) {
  std::string text;
  for (const CompletionOption& option : command.options)
    text += "        " + argument(option) + " \\\n";
  return text;
}

}  // namespace

std::string zsh_completions(const CompletionModel& model) {
  std::string text =
      "#compdef kvtape\n"
      "_kvtape() {\n"
      "  local -a commands=(\n";
  for (const CompletionCommand& command : model.commands)
    text += fmt::format("    '{}:{}'\n", command.name, quoted(command.summary));
  text +=
      "    'help:Show all help of a command'\n"
      "  )\n"
      "  if (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  case $command in\n"
      "    help) _describe command commands; return ;;\n"
      "    -*|'')\n"
      "      _arguments \\\n" +
      arguments_of(model.root) +
      "        '*: :'\n"
      "      return ;;\n"
      "  esac\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $command in\n";
  for (const CompletionCommand& command : model.commands)
    text += fmt::format("    {})\n      _arguments -s \\\n{}{}\n", command.name,
                        arguments_of(command),
                        "        '*:cache file:_files -g \"*.h5\"' ;;");
  return text +
         "  esac\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _kvtape ]; then\n"
         "  _kvtape \"$@\"\n"
         "else\n"
         "  compdef _kvtape kvtape\n"
         "fi\n";
}

}  // namespace kvtape::cli
