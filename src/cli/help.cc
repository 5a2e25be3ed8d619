// Help of the program and of its commands, from their declarations.
#include "cli/help.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <vector>

#include "cli/commands.h"
#include "cli/output.h"

namespace kvtape::cli {
namespace {

constexpr int kHelpColumn = 27;

// A command's description is its one line, then the rest.
std::string summary(const CLI::App& app) {
  const std::string text = app.get_description();
  return text.substr(0, text.find('\n'));
}

std::string details(const CLI::App& app) {
  const std::string text = app.get_description();
  const std::size_t end = text.find('\n');
  return end == std::string::npos ? "" : text.substr(end + 1);
}

std::string first_sentence(const std::string& text) {
  return text.substr(0, text.find(". ")) +
         (text.find(". ") == std::string::npos ? "" : ".");
}

// The words of a choice that are too many for the column of names.
bool has_many_words(const CLI::Option& option) {
  constexpr std::size_t kRoom = 45;
  return option.get_type_name().find('|') != std::string::npos &&
         option.get_type_name().size() > kRoom;
}

std::string value_text(const CLI::Option& option) {
  return has_many_words(option) ? "KIND" : option.get_type_name();
}

// "One of nan, inf, ..."
std::string words_text(const CLI::Option& option) {
  std::string text;
  for (const std::string& word :
       CLI::detail::split(option.get_type_name(), '|'))
    text += (text.empty() ? " One of " : ", ") + word;
  return text + ".";
}

// "-q, --quiet", "    --mode checked|faithful"
std::string spelling(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : option.get_snames())
    text += (text.empty() ? "-" : ", -") + name;
  if (!option.get_lnames().empty() && text.empty()) text = "    ";
  for (const std::string& name : option.get_lnames())
    text += (text == "    " ? "--" : ", --") + name;
  if (!option.nonpositional()) text = option.get_name(true);
  if (option.get_items_expected_max() > 0 && option.nonpositional())
    text += " " + value_text(option);
  return text;
}

// Names, then what they do, beginning at kHelpColumn.
std::string row(const std::string& names, const std::string& help) {
  std::string text = "  " + names;
  if (text.size() + 2 > kHelpColumn) text += '\n';
  const std::size_t used = text.ends_with('\n') ? 0 : text.size();
  text.append(kHelpColumn - used, ' ');
  return text + wrapped(help, kHelpColumn, kHelpColumn) + '\n';
}

std::string indented(const std::string& text) {
  std::string out;
  for (const std::string& line : CLI::detail::split(text, '\n'))
    if (!line.empty()) out += "  " + line + '\n';
  return out;
}

std::string commands_text() {
  std::string text = "\ncommands:\n";
  for (const Command& command : kCommands)
    text += row(std::string(command.name), std::string(command.summary) + ".");
  return text + row("help COMMAND", "Show all help of a command.");
}

// "-h" and "--help" are two options of the parser and one row here.
std::string option_row(const CLI::Option& option, bool all) {
  std::string help = option.get_description();
  if (option.check_lname("help"))
    return row("-h, --help", "Show help: -h on one screen, --help all of it.");
  if (has_many_words(option)) help += words_text(option);
  return row(spelling(option), all ? help : first_sentence(help));
}

std::string options_text(const CLI::App& app, const std::string& group,
                         bool all) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() != group || option->check_sname("h")) continue;
    text += option_row(*option, all);
  }
  std::string title = group;
  std::transform(title.begin(), title.end(), title.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32)
                                          : letter;
  });
  return text.empty() ? "" : fmt::format("\n{}:\n{}", title, text);
}

std::string head(const CLI::App& app) {
  return fmt::format("{}: {}\n\nusage: {}\n", full_name(app), summary(app),
                     usage_line(app));
}

std::string examples(const CLI::App& app) {
  return "\nexamples:\n" + indented(app.get_footer());
}

}  // namespace

std::string full_name(const CLI::App& app) {
  const bool is_root = app.get_parent() == nullptr;
  return is_root ? app.get_name()
                 : app.get_parent()->get_name() + " " + app.get_name();
}

std::string usage_line(const CLI::App& app) {
  if (app.get_parent() == nullptr)
    return "kvtape COMMAND [OPTION]... [FILE]...";
  std::string text = full_name(app) + " [OPTION]...";
  for (const CLI::Option* option : app.get_options()) {
    if (option->nonpositional()) continue;
    text += " " + option->get_name(true);
    if (option->get_items_expected_max() > 1) text += "...";
  }
  return text;
}

std::string short_help(const CLI::App& app) {
  std::string text = head(app) + examples(app);
  if (app.get_parent() == nullptr) text += commands_text();
  text += options_text(app, "Options", false);
  return text + fmt::format("\nMore: {} --help\n", full_name(app));
}

std::string long_help(const CLI::App& app) {
  std::string text = head(app);
  if (const std::string more = details(app); !more.empty())
    text += "\n" + wrapped(more, 0, 0) + "\n";
  text += examples(app);
  if (app.get_parent() == nullptr) text += commands_text();
  for (const std::string& group : app.get_groups())
    text += options_text(app, group, true);
  return text +
         "\nexit status:\n"
         "  0 sound, within tolerance, done; 1 findings, out of tolerance;\n"
         "  2 trouble: usage, a file that cannot be read, a full disk\n"
         "\nenvironment:\n"
         "  KVTAPE_KERNEL=scalar|avx2, NO_COLOR, TERM, COLUMNS\n";
}

}  // namespace kvtape::cli
