// A planned cache file as comma-separated values.
#pragma once

#include "io/write_plan.h"
#include "kvtape/json.h"

namespace kvtape {

/// A line for each element, or for each tensor where the encoding is none or
/// summary. Throws Error for base64.
void write_table(const WritePlan& plan, const JsonOptions& options,
                 const TextSink& sink);

}  // namespace kvtape
