// One line on the terminal that says how far a long command is.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "cli/arguments.h"
#include "kvtape/validate.h"

namespace kvtape::cli {

/// Shows "what 42%" on standard error after a second, on a terminal only, and
/// takes it away at its own end.
class ProgressLine {
 public:
  ProgressLine(std::string what, const Common& common);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// To be called by the work, from any thread; empty where nothing is shown.
  Progress callback();

  /// "what: 1.23 s" on standard error where -vv asks for it.
  void print_time();

 private:
  using Clock = std::chrono::steady_clock;
  void clear();
  void show(std::int64_t done, std::int64_t total);

  std::string what_;
  bool wanted_;
  bool timed_;
  Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  Clock::time_point next_;
  bool shown_ = false;
};

}  // namespace kvtape::cli
