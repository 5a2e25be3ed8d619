// How libhdf5 gets at the bytes of a file: through one descriptor that we
// opened. It opens no second file, and cannot read a chunk of another length
// than we made room for.
#pragma once

#include "io/hdf5_handle.h"
#include "io/input_file.h"

namespace kvtape {

/// Shared with the driver for as long as the file is open.
struct DriverState {
  const InputFile* file = nullptr;
  bool opened = false;  // a second open is refused
  /// Unless 0, bytes that a read of raw data must have: libhdf5 1.10 takes the
  /// length of a chunk from the file, whatever the caller's buffer holds.
  std::size_t raw_bytes = 0;
};

/// Opens the file of `state`, which must outlive the result. Requires an
/// Hdf5Session. Throws Error.
DrivenFile open_guarded(DriverState& state);

}  // namespace kvtape
