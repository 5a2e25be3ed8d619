// Mistakes on the command line, with what was perhaps meant.
#pragma once

#include <string>

#include "kvtape/error.h"

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace kvtape::cli {

/// "Commands: info validate ..."
std::string command_list();

Error unknown_command(const std::string& word);

/// What the parser library objects to, in our words. `app`: the command that
/// was being parsed.
Error usage_error(const CLI::ParseError& error, const CLI::App& app);

}  // namespace kvtape::cli
