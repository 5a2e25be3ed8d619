// A replayed log of operations as JSON.
#pragma once

#include "kvtape/replay_operations.h"
#include "report/json.h"

namespace kvtape {

/// What operations_json() tells besides its schema and file.
Json log_json(const OperationsReport& report);

}  // namespace kvtape
