// How fast errors grow from step to step.
#pragma once

#include <optional>
#include <vector>

namespace kvtape {

/// Steps over which the error doubles, from a line through log2 of the errors
/// [step]; nothing where they do not grow steadily: fewer than 8 errors that
/// are not 0, less than two doublings, a line that explains less than 80 % of
/// the variance, or an error that is not finite.
std::optional<double> doubling_steps(const std::vector<double>& errors);

}  // namespace kvtape
