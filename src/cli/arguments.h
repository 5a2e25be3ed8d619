// How commands declare their options; what the parser library looks like is
// known here, in parse, help, usage and complete only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal.h"

namespace CLI {
class App;
}

namespace kvtape::cli {

/// An option as the help shows it. The first sentence of `help` stands in
/// `-h`, all of it in `--help`.
struct Flag {
  std::string names;  // "-q,--quiet"
  std::string help;
  std::string value = "";         // "N"; "a|b" where a few words are allowed
  std::string group = "Options";  // others are left to `--help`
};

/// Values of `Flag::value` that stand for files, which shells complete.
inline constexpr std::string_view kCacheFile = "FILE";
inline constexpr std::string_view kOutputFile = "OUT";

/// What a command is for, in full, and examples: "command   what it does".
void describe(CLI::App& app, std::string text, std::string examples);

void add_flag(CLI::App& app, const Flag& flag, bool& target);
void add_text(CLI::App& app, const Flag& flag, std::string& target);
/// Arguments that are no options.
void add_files(CLI::App& app, const Flag& flag,
               std::vector<std::string>& target, bool required = true);
/// A required argument that is no option.
void add_file(CLI::App& app, const Flag& flag, std::string& target);

/// Calls `take` with the text of the value.
void add_value(CLI::App& app, const Flag& flag,
               const std::function<void(const std::string&)>& take);

/// A whole number of at least `least` and at most `most`.
void add_number(CLI::App& app, const Flag& flag, std::int64_t& target,
                std::int64_t least, std::int64_t most);
void add_number(CLI::App& app, const Flag& flag,
                std::optional<std::int64_t>& target, std::int64_t least,
                std::int64_t most);

/// A finite number that is not negative.
void add_real(CLI::App& app, const Flag& flag, double& target);
void add_real(CLI::App& app, const Flag& flag, std::optional<double>& target);

/// One of the words, given to `take` as its number among them.
void add_choice(CLI::App& app, Flag flag,
                std::span<const std::string_view> words,
                const std::function<void(std::size_t)>& take);

/// Options that mean the same in every command that has them.
struct Common {
  bool json = false;
  bool quiet = false;
  int verbosity = 0;
  ColorWhen color = ColorWhen::kAuto;
  bool ascii = false;
  std::int64_t threads = 0;
  bool no_progress = false;
};
void add_quiet(CLI::App& app, Common& common);
/// --json, -q, -v, --color, --ascii
void add_report_options(CLI::App& app, Common& common);
/// --threads, --no-progress
void add_work_options(CLI::App& app, Common& common);
void add_force(CLI::App& app, bool& force);

TextStyle style_of(const Common& common);

/// The integers of "2,3". Throws Error, said of `option`.
std::vector<std::int64_t> number_list(const std::string& option,
                                      const std::string& text);

/// "expected X, found Y" of an option's value.
[[noreturn]] void refuse_value(const std::string& option,
                               const std::string& expected,
                               const std::string& found,
                               const std::string& hint = "");

}  // namespace kvtape::cli
