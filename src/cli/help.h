// Help of the program and of its commands, from their declarations.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace kvtape::cli {

/// "kvtape info"
std::string full_name(const CLI::App& app);

/// "kvtape info [OPTION]... FILE..."
std::string usage_line(const CLI::App& app);

/// One screen, examples first.
std::string short_help(const CLI::App& app);

/// Everything.
std::string long_help(const CLI::App& app);

}  // namespace kvtape::cli
