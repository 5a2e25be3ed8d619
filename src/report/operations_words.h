// What became of an operation, in a word.
#pragma once

#include <string_view>

#include "kvtape/replay_operations.h"

namespace kvtape {

/// "as recorded", "done", "differs", "refused", "failed", "did not fail",
/// "not run".
std::string_view operation_word(OperationOutcome::Status status);

}  // namespace kvtape
