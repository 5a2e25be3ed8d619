// Whether what a file says of its datasets can be, before anybody believes it.
#pragma once

#include "io/stored_object.h"

namespace kvtape {

/// Throws Error unless the dataset lies whole inside a file of `file_bytes`,
/// and is no larger than what such a file can hold.
void check_stored(const StoredObject& object, std::int64_t file_bytes);

}  // namespace kvtape
