// The commands of the program. A new one is a file cmd_x.cc and a row here.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace kvtape::cli {

/// Exit status.
enum Status : int {
  kGood = 0,     // sound, equal, done
  kBad = 1,      // invalid, different, out of tolerance
  kTrouble = 2,  // usage, unreadable, malformed, disk full
};

/// What a command ends with; `out` is for standard output.
struct Outcome {
  int status = kGood;
  std::string out;
};
using Action = std::function<Outcome()>;

/// Each declares the options of a command; the result runs it once they are
/// parsed.
Action declare_info(CLI::App& app);
Action declare_dump(CLI::App& app);
Action declare_validate(CLI::App& app);
Action declare_diff(CLI::App& app);
Action declare_stats(CLI::App& app);
Action declare_replay(CLI::App& app);
Action declare_convert(CLI::App& app);
Action declare_insert(CLI::App& app);
Action declare_sample(CLI::App& app);

struct Command {
  std::string_view name;
  std::string_view summary;
  Action (*declare)(CLI::App& app);
};

/// In the order of `--help`: look, check, run, change.
inline constexpr std::array kCommands{
    Command{"info", "Show what is inside cache files", declare_info},
    Command{"dump", "Write a cache as JSON or as a table", declare_dump},
    Command{"validate", "Check whether caches are sound", declare_validate},
    Command{"diff", "Say where two caches part", declare_diff},
    Command{"replay", "Play a trace again and compare the outputs",
            declare_replay},
    Command{"stats", "Show what the numbers look like", declare_stats},
    Command{"convert", "Write a cache in another form, or a part of it",
            declare_convert},
    Command{"insert", "Put one cache into rows of another", declare_insert},
    Command{"sample", "Write a cache and a trace to try things on",
            declare_sample},
};

}  // namespace kvtape::cli
