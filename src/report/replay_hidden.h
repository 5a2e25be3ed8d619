// Replays from hidden states as text and JSON.
#pragma once

#include <string>

#include "kvtape/replay_hidden.h"
#include "report/style.h"

namespace kvtape {

std::string hidden_text(const HiddenReport& report, const std::string& file,
                        const TextStyle& style);

/// "schema": "kvtape.hidden/1".
std::string hidden_json(const HiddenReport& report, const std::string& file);

}  // namespace kvtape
