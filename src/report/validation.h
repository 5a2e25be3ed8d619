// Validation reports as text and JSON.
#pragma once

#include <string>
#include <vector>

#include "kvtape/validate.h"
#include "report/style.h"

namespace kvtape {

struct NamedValidation {
  std::string file;
  ValidationReport report;
};

/// At most max_issues findings are written (0 = all); the rest is counted.
std::string validation_text(const NamedValidation& validation,
                            const TextStyle& style, int max_issues);

/// One object, "schema": "kvtape.validate/1", with an entry per file.
std::string validation_json(const std::vector<NamedValidation>& validations);

/// The table of `validate --rules`, and the same as "kvtape.rules/1".
std::string rules_text(const TextStyle& style);
std::string rules_json();

}  // namespace kvtape
