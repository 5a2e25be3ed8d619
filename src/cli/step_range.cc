// `--steps A:B`, half open as in Python.
#include "cli/step_range.h"

#include <fmt/format.h>

#include <charconv>

#include "cli/arguments.h"
#include "kvtape/error.h"

namespace kvtape::cli {
namespace {

[[noreturn]] void refuse(const std::string& text, std::int64_t count) {
  refuse_value("--steps", fmt::format("a range of steps inside 0:{}", count),
               text,
               "a range is half open, A:B with A < B; negative numbers count "
               "from the end");
}

// A bound; `fallback` where nothing is written.
std::optional<std::int64_t> bound(std::string_view text, std::int64_t count,
                                  std::int64_t fallback) {
  if (text.empty()) return fallback;
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return number < 0 ? number + count : number;
}

}  // namespace

StepRange parsed_steps(const std::string& text, std::int64_t count) {
  const std::size_t colon = text.find(':');
  const std::string_view all = text;
  const bool single = colon == std::string::npos;
  const auto first = bound(all.substr(0, colon), count, 0);
  if (text.empty() || !first || *first < 0 || *first >= count)
    refuse(text, count);
  const auto last = single ? std::optional<std::int64_t>(*first + 1)
                           : bound(all.substr(colon + 1), count, count);
  if (!last || *last <= *first || *last > count) refuse(text, count);
  return {.first = *first, .last = *last};
}

StepRange step_range(const std::string& text, const Tape& tape) {
  const bool has_steps = tape.trace && tape.trace->step_lengths;
  const Tensor* lengths = has_steps ? &*tape.trace->step_lengths : nullptr;
  if (lengths == nullptr || lengths->axes.size() != 1)
    throw Error(
        {.object = "/trace/step_lengths",
         .text = "--steps asks for a list of steps, and there is none"});
  return parsed_steps(text, lengths->axes.front().size);
}

}  // namespace kvtape::cli
