// What two caches say of themselves, field by field.
#pragma once

#include <vector>

#include "kvtape/diff.h"

namespace kvtape {

/// Every field that both do not say alike: metadata, layers, masks, tokens,
/// and how their tensors are stored. Layers that only one has are left out.
std::vector<DiffField> diff_fields(const Tape& expected, const Tape& actual);

}  // namespace kvtape
