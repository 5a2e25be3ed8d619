// Shell completions, from the declarations of the commands.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace kvtape::cli {

inline constexpr std::array<std::string_view, 3> kCompletions{
    "complete-bash", "complete-zsh", "complete-fish"};

/// The script that one of kCompletions stands for.
std::string completions(const CLI::App& app, const std::string& kind);

}  // namespace kvtape::cli
