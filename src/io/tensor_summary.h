// A planned dataset in a few numbers.
#pragma once

#include "io/write_plan.h"
#include "kernels/summary.h"

namespace kvtape {

/// Of all elements, in order; integers and bools as numbers.
kernels::Summary summary_of(const PlannedDataset& dataset);

/// Codes and scales that stand for numbers of `dtype`.
struct PlannedCodes {
  PlannedDataset codes;
  PlannedDataset scales;
  DType dtype = DType::kF32;
  bool nf4 = false;
};

/// Of the numbers that they widen to. Throws Error where both do not fit.
kernels::Summary summary_of(const PlannedCodes& tensor);

}  // namespace kvtape
