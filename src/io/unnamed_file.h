// Temporary files without a name, which end with the program however it ends.
#pragma once

#include <string>

namespace kvtape {

/// The descriptor of a new one, for reading and writing, in the folder TMPDIR,
/// else in /var/tmp: /tmp often is memory. Throws Error; `what` says what goes
/// there: "large tensors".
int open_unnamed_file(const std::string& what);

}  // namespace kvtape
