// A row of bars, one character each.
#pragma once

#include <string>
#include <vector>

#include "report/style.h"

namespace kvtape {

/// Values put together into at most `columns` groups of neighbours: the largest
/// of each, NaN where there is one.
std::vector<double> largest_of_groups(const std::vector<double>& values,
                                      std::size_t columns);

/// Errors (>= 0) on a log scale with its two ends: "1e-06 ▁▁▂▅█ 7e-03". Zeros
/// are blanks, NaN and infinity are X. Empty where nothing is above zero.
std::string sparkline(const std::vector<double>& errors, std::size_t columns,
                      const TextStyle& style);

}  // namespace kvtape
