// Where HDF5 keeps texts of varying length, which is what h5py writes.
#pragma once

#include "io/input_file.h"

namespace kvtape {

/// False where the heap collection at an address of the file is damaged in a
/// way that libhdf5 1.10 follows out of it, or for ever.
bool is_sound_heap(const InputFile& file, std::int64_t address);

}  // namespace kvtape
