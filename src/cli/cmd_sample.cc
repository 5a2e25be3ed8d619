// kvtape sample: deterministic caches and traces to try things on.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/sample_options.h"
#include "kvtape/io.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape::cli {
namespace {

// A file of 60% of its length is cut inside its data.
void cut_short(const std::string& path) {
  const auto bytes = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, bytes - bytes * 2 / 5);
}

// "1 step of 8 tokens and 8 steps of one token"
std::string trace_text(const Tape& tape, const SampleOptions& options) {
  if (!tape.trace) return "no trace";
  std::vector<std::string> parts;
  if (options.prompt > 0)
    parts.push_back("1 step of " + counted(options.prompt, "token"));
  if (options.steps > 0)
    parts.push_back(counted(options.steps, "step") + " of 1 token");
  return joined(parts, " and ");
}

std::string cache_text(const Tape& tape) {
  for (const auto& [number, layer] : tape.cache.layers)
    if (layer.key)
      return fmt::format("{} {}", name(layer.key->dtype),
                         shape_text(*layer.key));
  return "no keys";
}

std::string summary(const SampleCommand& command, const Tape& tape) {
  const auto layers = static_cast<std::int64_t>(tape.cache.layers.size());
  const auto bytes = std::filesystem::file_size(command.out);
  std::string text =
      fmt::format("wrote {}: {}, {}, {}, {}", printable(command.out),
                  counted(layers, "layer"), cache_text(tape),
                  trace_text(tape, command.sample),
                  bytes_text(static_cast<std::int64_t>(bytes)));
  for (const Flaw& flaw : flaws())
    if (flaw.name == command.flaw)
      text += fmt::format("; flaw {}: {}", flaw.name, flaw.what);
  return text + '\n';
}

Outcome run_sample(const SampleCommand& command) {
  check_cache_output(command.out, command.force);
  Tape tape = make_sample(sample_options(command));
  const bool cut = command.flaw == "cut";
  if (!command.flaw.empty() && !cut) plant_flaw(tape, command.flaw);
  write_tape(tape, command.out,
             {.force = command.force, .compress = command.compress});
  if (cut) cut_short(command.out);
  if (command.common.quiet) return {};
  return {.out = summary(command, tape)};
}

}  // namespace

Action declare_sample(CLI::App& app) {
  const auto command = std::make_shared<SampleCommand>();
  describe(
      app,
      "Writes a cache before its first step, a trace of a decode on it "
      "and the cache after it. The same options give the same bytes on "
      "any machine. With --flaw a fault is planted that validate or "
      "replay must find.",
      "kvtape sample demo.h5                          a small one\n"
      "kvtape sample gqa.h5 --query-heads 32 --key-heads 8 --dtype bf16\n"
      "kvtape sample ring.h5 --layout ring --window 16\n"
      "kvtape sample bad.h5 --flaw drift              for replay to find\n");
  declare_options(app, *command);
  return [command] { return run_sample(*command); };
}

}  // namespace kvtape::cli
