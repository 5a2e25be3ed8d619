// Something wrong in a cache: a value in a report, not an exception.
#pragma once

#include <string>
#include <vector>

namespace kvtape {

enum class Severity { kError, kWarning };

/// One thing that a rule found. The rules are listed by validation_rules() in
/// validate.h; the reader of files finds some of them, validate() the others.
struct Finding {
  std::string rule;  // "E07"; the letter is the severity
  std::string object;
  std::string field;
  std::string expected;
  std::string found;
  std::string fix;

  Severity severity() const {
    return rule.starts_with('W') ? Severity::kWarning : Severity::kError;
  }
  friend bool operator==(const Finding&, const Finding&) = default;
};

}  // namespace kvtape
