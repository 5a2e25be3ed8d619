// Replay reports as text, JSON and a picture.
#pragma once

#include <string>

#include "kvtape/replay.h"
#include "kvtape/replay_operations.h"
#include "report/style.h"

namespace kvtape {

std::string replay_text(const ReplayReport& report, const std::string& file,
                        const TextStyle& style);

/// "schema": "kvtape.replay/1"; `log` is that of a log beside the steps.
std::string replay_json(const ReplayReport& report, const std::string& file,
                        const OperationsReport* log = nullptr);

/// The error against the step: log scale, one line per layer, the worst in
/// bold, the tolerance as a rule across, the first failing step marked.
std::string replay_svg(const ReplayReport& report, const std::string& file);

}  // namespace kvtape
