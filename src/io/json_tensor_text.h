// Tensors as JSON: their members, and their elements in any encoding.
#pragma once

#include "core/thread_pool.h"
#include "io/json_writer.h"
#include "io/write_plan.h"
#include "kernels/summary.h"

namespace kvtape {

/// The members of a dataset, between open() and close() of its object.
/// Throws Error where the elements cannot be read or spelled.
void write_tensor(const PlannedObject& object, Encoding encoding,
                  JsonWriter& writer, ThreadPool& pool);

/// The members of a summary.
void write_summary(const kernels::Summary& summary, JsonWriter& writer);

/// ["batch", "position"] of "batch,position".
std::string words_json(std::string_view words);

}  // namespace kvtape
