// Faults planted in caches, written apart from what finds them.
#pragma once

#include <string>
#include <vector>

#include "explain_world.h"

namespace kvtape::tests {

/// Changes both where the fault needs a certain expected cache. False where the
/// shape has no such fault.
using Plant = bool (*)(World& expected, World& actual, Numbers& random);

struct Fault {
  std::string cause;  // that must be named
  std::string what;
  int family = 0;  // two faults of one family are one fault of it
  Plant plant;
};
const std::vector<Fault>& faults();

/// Differences that no single cause explains.
struct Disturbance {
  std::string what;
  void (*plant)(World& actual, Numbers& random);
};
const std::vector<Disturbance>& disturbances();

}  // namespace kvtape::tests
