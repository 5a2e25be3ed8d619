// One line on the terminal that says how far a long command is.
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cli/output.h"
#include "report/text.h"

namespace kvtape::cli {
namespace {

constexpr auto kPatience = std::chrono::seconds(1);
constexpr auto kBetween = std::chrono::milliseconds(100);
constexpr const char* kClear = "\r\x1b[K";

}  // namespace

ProgressLine::ProgressLine(std::string what, const Common& common)
    : what_(std::move(what)),
      wanted_(!common.no_progress && !common.quiet && stderr_is_terminal()),
      timed_(common.verbosity > 1),
      next_(start_ + kPatience) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (shown_) write_stderr(kClear);
  shown_ = false;
}

Progress ProgressLine::callback() {
  if (!wanted_) return {};
  return [this](std::int64_t done, std::int64_t total) { show(done, total); };
}

void ProgressLine::show(std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (now < next_ || total <= 0) return;
  next_ = now + kBetween;
  shown_ = true;
  const double part =
      static_cast<double>(done) / static_cast<double>(std::max(done, total));
  const std::string percent = fmt::format(" {}%", static_cast<int>(part * 100));
  const int room =
      terminal_width(STDERR_FILENO) - static_cast<int>(percent.size()) - 1;
  write_stderr(kClear + printable(what_, room) + percent);
}

void ProgressLine::print_time() {
  if (!timed_) return;
  clear();
  const std::chrono::duration<double> taken = Clock::now() - start_;
  write_stderr(fmt::format("{}: {:.2f} s\n", printable(what_), taken.count()));
}

}  // namespace kvtape::cli
