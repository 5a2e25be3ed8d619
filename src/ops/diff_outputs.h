// What two traces recorded, and the error that matters: attention outputs over
// one cache against the other.
#pragma once

#include "kernels/difference.h"
#include "kvtape/diff.h"

namespace kvtape {

/// Replays the same queries on both caches, layer by layer, and compares what
/// comes out (report.outputs); nothing where no tape has queries.
void diff_outputs(const Tape& expected, const Tape& actual,
                  const DiffOptions& options,
                  const kernels::Allowance& allowance, DiffReport& report);

/// Compares what both traces recorded of each layer (report.others).
void diff_trace(const Tape& expected, const Tape& actual,
                const DiffOptions& options, const kernels::Allowance& allowance,
                DiffReport& report);

}  // namespace kvtape
