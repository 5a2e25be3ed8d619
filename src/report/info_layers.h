// The layers of a cache as text: one row for those that are alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvtape/cache.h"
#include "report/style.h"

namespace kvtape {

/// "7", or "3-9" where numbers differ. Requires at least one.
std::string span_text(const std::vector<std::int64_t>& numbers);

/// "f16 [1, 1024, 8, 64]", "nf4 (f16) [1, 1024, 8, 64]".
std::string tensor_text(const Tensor& tensor);

/// What the keys and values of all layers have in common; where they differ,
/// each kind once.
std::string dtypes_text(const Cache& cache);   // "f16"
std::string axes_text(const Cache& cache);     // "batch, seq (position), ..."
std::string storage_text(const Cache& cache);  // "contiguous, mapped"

/// "left in 2 of 4 rows, starts 0-3"; empty where there is none.
std::string padding_text(const Cache& cache);

/// The table of layers with a blank line before it; under -v not folded.
std::string layer_table(const Cache& cache, const TextStyle& style);

}  // namespace kvtape
