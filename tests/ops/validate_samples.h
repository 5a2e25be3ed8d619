// One spoiled tape for each rule that validate() finds.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape::test {

/// A tape that breaks one rule and no other.
struct RuleSample {
  std::string_view rule;
  std::string_view object;  // of the finding
  std::function<Tape()> make;
};

const std::vector<RuleSample>& structure_samples();
const std::vector<RuleSample>& value_samples();

}  // namespace kvtape::test
