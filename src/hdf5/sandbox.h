// What kvtape-hdf5 may not do, whatever a file makes libhdf5 do.
#pragma once

namespace kvtape {

/// Memory, time, and no file at all: neither to open nor to write. False where
/// memory is not limited, as under a sanitizer.
bool limit_resources();

/// From now on the process may read, answer, and take memory; opening a file
/// fails, anything else ends the process. False where this system has no
/// seccomp, or under a sanitizer.
bool filter_calls();

}  // namespace kvtape
