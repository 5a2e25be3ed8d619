// The objects of a file as a Tape, whichever way the file spells them.
#pragma once

#include <vector>

#include "io/sources.h"
#include "io/stored_object.h"

namespace kvtape {

/// Gives the objects their meaning, man/kvtape-cache.5. Groups stand before
/// what they hold, the root first. Throws Error, without naming the file.
Tape tape_of(const std::vector<StoredObject>& objects, Sources& sources);

}  // namespace kvtape
