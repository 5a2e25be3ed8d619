// How commands declare their options.
#include "cli/arguments.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <charconv>
#include <cmath>
#include <limits>

#include "cli/suggest.h"
#include "kvtape/error.h"

namespace kvtape::cli {
namespace {

// The name that messages use: "--quiet" of "-q,--quiet".
std::string long_name(const Flag& flag) {
  return flag.names.substr(flag.names.rfind(',') + 1);
}

template <typename Number>
std::optional<Number> parsed(const std::string& text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (text.empty() || result.ec != std::errc() || result.ptr != end)
    return std::nullopt;
  return number;
}

std::string range_text(std::int64_t least, std::int64_t most) {
  if (most == std::numeric_limits<std::int64_t>::max())
    return fmt::format("a whole number of at least {}", least);
  return fmt::format("a whole number from {} to {}", least, most);
}

std::string or_list(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view& word : words) {
    if (&word != &words.front()) text += &word == &words.back() ? " or " : ", ";
    text += word;
  }
  return text;
}

std::string joined_words(std::span<const std::string_view> words) {
  std::string text;
  for (const std::string_view word : words)
    text.append(text.empty() ? "" : "|").append(word);
  return text;
}

std::string refuse_nameless(const std::string& name) {
  return name.empty() ? "expected a name, found ''" : "";
}

// `Target`: a number, or an optional one.
template <typename Target>
void add_whole(CLI::App& app, const Flag& flag, Target& target,
               std::int64_t least, std::int64_t most) {
  const std::string name = long_name(flag);
  add_value(app, flag, [&target, name, least, most](const std::string& text) {
    const auto number = parsed<std::int64_t>(text);
    if (!number || *number < least || *number > most)
      refuse_value(name, range_text(least, most), text);
    target = *number;
  });
}

template <typename Target>
void add_finite(CLI::App& app, const Flag& flag, Target& target) {
  const std::string name = long_name(flag);
  add_value(app, flag, [&target, name](const std::string& text) {
    const auto number = parsed<double>(text);
    if (!number || !std::isfinite(*number) || *number < 0)
      refuse_value(name, "a number that is not negative", text);
    target = *number;
  });
}

}  // namespace

void refuse_value(const std::string& option, const std::string& expected,
                  const std::string& found, const std::string& hint) {
  throw Error({.object = option,
               .expected = expected,
               .found = "'" + found + "'",
               .hint = hint});
}

void describe(CLI::App& app, std::string text, std::string examples) {
  app.description(app.get_description() + "\n" + text);
  app.footer(examples);
}

void add_flag(CLI::App& app, const Flag& flag, bool& target) {
  app.add_flag(flag.names, target, flag.help)->group(flag.group);
}

void add_value(CLI::App& app, const Flag& flag,
               const std::function<void(const std::string&)>& take) {
  app.add_option_function<std::string>(flag.names, take, flag.help)
      ->type_name(flag.value)
      ->group(flag.group);
}

void add_text(CLI::App& app, const Flag& flag, std::string& target) {
  const std::string name = long_name(flag);
  add_value(app, flag, [&target, name](const std::string& text) {
    if (text.empty()) refuse_value(name, "a text", text);
    target = text;
  });
}

void add_files(CLI::App& app, const Flag& flag,
               std::vector<std::string>& target, bool required) {
  app.add_option(flag.names, target, flag.help)
      ->type_name(flag.value)
      ->group("Arguments")
      ->check(refuse_nameless)
      ->expected(-1)
      ->required(required);
}

void add_file(CLI::App& app, const Flag& flag, std::string& target) {
  app.add_option(flag.names, target, flag.help)
      ->type_name(flag.value)
      ->group("Arguments")
      ->check(refuse_nameless)
      ->required();
}

void add_number(CLI::App& app, const Flag& flag, std::int64_t& target,
                std::int64_t least, std::int64_t most) {
  add_whole(app, flag, target, least, most);
}

void add_number(CLI::App& app, const Flag& flag,
                std::optional<std::int64_t>& target, std::int64_t least,
                std::int64_t most) {
  add_whole(app, flag, target, least, most);
}

void add_real(CLI::App& app, const Flag& flag, double& target) {
  add_finite(app, flag, target);
}

void add_real(CLI::App& app, const Flag& flag, std::optional<double>& target) {
  add_finite(app, flag, target);
}

std::vector<std::int64_t> number_list(const std::string& option,
                                      const std::string& text) {
  std::vector<std::int64_t> numbers;
  for (const std::string& part : CLI::detail::split(text, ',')) {
    const auto number = parsed<std::int64_t>(part);
    if (!number) refuse_value(option, "whole numbers as in 2,3", text);
    numbers.push_back(*number);
  }
  return numbers;
}

void add_choice(CLI::App& app, Flag flag,
                std::span<const std::string_view> words,
                const std::function<void(std::size_t)>& take) {
  flag.value = joined_words(words);
  const std::vector<std::string_view> allowed(words.begin(), words.end());
  add_value(app, flag,
            [allowed, take, name = long_name(flag)](const std::string& text) {
              for (std::size_t word = 0; word < allowed.size(); ++word)
                if (allowed[word] == text) return take(word);
              refuse_value(name, or_list(allowed), text,
                           suggestion(text, allowed));
            });
}

void add_quiet(CLI::App& app, Common& common) {
  add_flag(app, {"-q,--quiet", "Print nothing; the exit status tells."},
           common.quiet);
}

void add_report_options(CLI::App& app, Common& common) {
  static constexpr std::array<std::string_view, 3> kWhen{"auto", "always",
                                                         "never"};
  add_flag(app, {"--json", "Print one JSON object instead of text."},
           common.json);
  add_quiet(app, common);
  app.add_flag("-v,--verbose", common.verbosity,
               "Print more. Twice (-vv): also the time it took, on standard "
               "error.")
      ->group("Options");
  add_choice(app,
             {.names = "--color",
              .help = "When to use colour. \"auto\" is on a terminal, unless "
                      "NO_COLOR is set or TERM is dumb.",
              .group = "Output"},
             kWhen, [&common](std::size_t word) {
               common.color = static_cast<ColorWhen>(word);
             });
  add_flag(app,
           {.names = "--ascii",
            .help = "Use no character outside ASCII.",
            .group = "Output"},
           common.ascii);
}

void add_work_options(CLI::App& app, Common& common) {
  add_number(app,
             {"--threads",
              "Threads to use. The default, 0, is one per core; no result "
              "depends on it.",
              "N", "Work"},
             common.threads, 0, 1024);
  add_flag(app,
           {.names = "--no-progress",
            .help = "Show no progress on the terminal.",
            .group = "Work"},
           common.no_progress);
}

void add_force(CLI::App& app, bool& force) {
  add_flag(app, {"--force", "Replace a file that exists."}, force);
}

TextStyle style_of(const Common& common) {
  return terminal_style(common.color, common.ascii, common.verbosity);
}

}  // namespace kvtape::cli
