// Replays of operation logs as text and JSON.
#pragma once

#include <string>

#include "kvtape/replay_operations.h"
#include "report/style.h"

namespace kvtape {

std::string operations_text(const OperationsReport& report,
                            const std::string& file, const TextStyle& style);

/// "schema": "kvtape.operations/1".
std::string operations_json(const OperationsReport& report,
                            const std::string& file);

}  // namespace kvtape
