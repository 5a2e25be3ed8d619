// An operation that cannot go on. What is merely wrong in a file is a Finding.
#pragma once

#include <stdexcept>
#include <string>

namespace kvtape {

/// The parts of an error message; empty parts are left out of the line
/// `FILE: OBJECT: FIELD: TEXT` or `FILE: OBJECT: FIELD: expected X, found Y`.
struct ErrorParts {
  std::string file;      // path as the user gave it
  std::string object;    // "/layers/7/value"
  std::string field;     // "shape"
  std::string expected;  // used together with found
  std::string found;
  std::string text;  // instead of expected and found
  std::string hint;  // how to mend it; printed on a line of its own
};

/// Thrown where an operation cannot go on; the program prints it and ends with
/// status 2. what() is the one line without program name and hint.
class Error : public std::runtime_error {
 public:
  explicit Error(ErrorParts parts);

  const ErrorParts& parts() const { return parts_; }

  /// The same error, said of `file` where no file is named yet.
  Error in_file(const std::string& file) const;

 private:
  ErrorParts parts_;
};

}  // namespace kvtape
