// Checksums of HDF5's metadata, so that a mutation is not refused by them.
#pragma once

#include <cstddef>
#include <span>

namespace kvtape {

/// Makes the checksums of superblocks, object headers and indexes of chunks
/// right, where their lengths can be told; nothing else is changed.
void repair_checksums(std::span<unsigned char> file);

}  // namespace kvtape
