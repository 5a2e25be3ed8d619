// How libhdf5 gets at the bytes of a file: through one descriptor that we
// were given. It opens no second file, and reads no chunk.
#pragma once

#include "hdf5/handle.h"
#include "io/hdf5_messages.h"
#include "io/input_file.h"

namespace kvtape {

/// Shared with the driver for as long as the file is open.
struct DriverState {
  const InputFile* file = nullptr;
  bool opened = false;  // a second open is refused
  /// Unless null, raw data is not read: this becomes its place. libhdf5 1.10
  /// takes the length of a chunk from the file, whatever a buffer holds.
  ChunkPlace* wanted = nullptr;
};

/// Opens the file of `state`, which must outlive the result. Throws Error.
DrivenFile open_guarded(DriverState& state);

}  // namespace kvtape
