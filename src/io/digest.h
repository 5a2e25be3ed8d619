// What tells whether a dataset's numbers are still those that were written.
#pragma once

#include <string>

#include "io/write_plan.h"

namespace kvtape {

/// "xxh3:" and the XXH3 hash of 128 bits, in hex, of the text "f32[2,3]" (dtype
/// and sizes) followed by the elements, little-endian, in C order.
std::string digest_of(const PlannedDataset& dataset);

}  // namespace kvtape
