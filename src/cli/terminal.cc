// What the terminal and the environment say about how text should look.
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

namespace kvtape::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

bool is_terminal(int descriptor) {
  return isatty(descriptor) == 1 && environment("TERM") != "dumb";
}

// The first of the three that is set decides, as in setlocale().
bool locale_is_utf8() {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    locale = environment(name);
    if (!locale.empty()) break;
  }
  for (char& letter : locale)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
  return locale.find("utf-8") != std::string::npos ||
         locale.find("utf8") != std::string::npos;
}

bool use_color(ColorWhen when) {
  if (when != ColorWhen::kAuto) return when == ColorWhen::kAlways;
  return environment("NO_COLOR").empty() && is_terminal(STDOUT_FILENO);
}

int clamped_width(int columns) { return std::clamp(columns, 40, 400); }

}  // namespace

bool stderr_is_terminal() { return is_terminal(STDERR_FILENO); }

int terminal_width(int descriptor) {
  const std::string_view text = environment("COLUMNS");
  int columns = 0;
  const auto end = text.data() + text.size();
  if (std::from_chars(text.data(), end, columns).ptr == end && columns > 0)
    return clamped_width(columns);
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return clamped_width(size.ws_col);
  return 80;
}

TextStyle terminal_style(ColorWhen color, bool ascii, int verbosity) {
  return {.color = use_color(color),
          .unicode = !ascii && locale_is_utf8(),
          .width = terminal_width(STDOUT_FILENO),
          .verbosity = verbosity};
}

}  // namespace kvtape::cli
