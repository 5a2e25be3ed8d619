// Mistakes on the command line, with what was perhaps meant.
#include "cli/usage.h"

#include <CLI/App.hpp>
#include <vector>

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/suggest.h"

namespace kvtape::cli {
namespace {

std::string help_hint(const CLI::App& app) {
  return "usage: " + usage_line(app) + "   (" + full_name(app) + " -h)";
}

// Every spelling of every option of a command.
std::vector<std::string> spellings(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
  return names;
}

std::string option_suggestion(const std::string& typed, const CLI::App& app) {
  const std::vector<std::string> names = spellings(app);
  return suggestion(typed,
                    std::vector<std::string_view>(names.begin(), names.end()));
}

Error unexpected(const std::string& word, const CLI::App& app) {
  if (!word.starts_with('-') || word == "-")
    return Error(
        {.text = "unexpected argument '" + word + "'", .hint = help_hint(app)});
  const std::string name = word.substr(0, word.find('='));
  std::string hint = option_suggestion(name, app);
  if (hint.empty()) hint = help_hint(app);
  if (app.get_option_no_throw(name) != nullptr)
    hint = "it stands after the command: " + full_name(app) + " " + name;
  return Error({.text = "unknown option '" + name + "'", .hint = hint});
}

// "--mode: 1 required TEXT missing" and the like.
Error mismatch(const CLI::ParseError& error, const CLI::App& app) {
  const std::string what = error.what();
  const std::string name = what.substr(0, what.find(": "));
  const bool missing = what.ends_with("missing");
  const bool repeated = what.find("At Most") != std::string::npos;
  if (!missing && !repeated)
    return Error({.text = what, .hint = help_hint(app)});
  return Error({.object = name,
                .text = missing ? "needs a value" : "given more than once",
                .hint = help_hint(app)});
}

}  // namespace

std::string command_list() {
  std::string text = "Commands:";
  for (const Command& command : kCommands)
    text.append(" ").append(command.name);
  return text;
}

Error unknown_command(const std::string& word) {
  std::vector<std::string_view> names{"help"};
  for (const Command& command : kCommands) names.push_back(command.name);
  std::string hint = suggestion(word, names);
  if (!hint.empty()) hint += "  ";
  return Error({.text = "unknown command '" + word + "'",
                .hint = hint + command_list()});
}

Error usage_error(const CLI::ParseError& error, const CLI::App& app) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const CLI::App* root = app.get_parent();
    const auto extras = (root == nullptr ? app : *root).remaining(true);
    if (!extras.empty()) return unexpected(extras.front(), app);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    return mismatch(error, app);
  return Error({.text = error.what(), .hint = help_hint(app)});
}

}  // namespace kvtape::cli
