// What rotary embedding may turn.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/explain_causes.h"

namespace kvtape::causes {

/// Leading dimensions of a vector that the embedding may turn: as the tapes
/// say, and all of them.
std::vector<std::int64_t> turned_dims(Caches& caches, const Token& token);

}  // namespace kvtape::causes
