// What a benchmark measured, beside what it was meant to reach.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvtape::bench {

struct Result {
  std::string section;  // "decode"
  std::string subject;  // "(32,8,128) 32768 slots f16 [head,slot], 1 thread"
  std::string measure;  // "of the read rate"
  double value = 0;
  std::optional<double> target;  // at least; the largest, where `at_most`
  bool at_most = false;

  bool met() const {
    return !target || (at_most ? value <= *target : value >= *target);
  }
};

/// Prints each result as it comes, and the list as JSON at the end.
class Results {
 public:
  void add(Result result);
  /// Writes them to `path`, and a last line with how many targets were met.
  void finish(const std::string& json_path) const;

 private:
  std::string section_;
  std::vector<Result> results_;
};

}  // namespace kvtape::bench
