// A planned file as HDF5.
#pragma once

#include "io/atomic_file.h"
#include "io/write_plan.h"
#include "kvtape/io.h"

namespace kvtape {

/// Writes everything but the name. Throws Error.
void write_hdf5(const WritePlan& plan, AtomicFile& out,
                const WriteOptions& options);

}  // namespace kvtape
