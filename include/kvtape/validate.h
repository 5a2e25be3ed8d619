// Is a cache sound?
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "kvtape/finding.h"
#include "kvtape/tape.h"

namespace kvtape {

/// Called now and then with how much of the work is done.
using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

struct ValidateOptions {
  bool values = false;         // also read the tensors
  int threads = 0;             // 0 = one per core
  bool metadata_only = false;  // there is no cache, only its metadata
  Progress progress;
};

struct ValidationReport {
  std::vector<Finding> findings;  // sorted by object, in natural order
  int rules = 0;                  // how many were tried
  bool values = false;
};

/// Every finding of every rule, those of the reader included. The result does
/// not depend on the number of threads. Throws Error when data cannot be read.
ValidationReport validate(const Tape& tape,
                          const ValidateOptions& options = {});

/// One rule: what it finds, and what to do about it.
struct Rule {
  std::string_view id;  // "E07" or "W03"
  bool values;          // needs tensor data
  std::string_view summary;
  std::string_view fix;
};
std::span<const Rule> validation_rules();

}  // namespace kvtape
