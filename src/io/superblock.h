// The first bytes of an HDF5 file, looked at before libhdf5 sees any.
#pragma once

#include "io/input_file.h"

namespace kvtape {

/// Throws Error unless the file is HDF5, whole, and closed by its writer.
void check_superblock(const InputFile& file);

}  // namespace kvtape
