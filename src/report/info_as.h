// What is inside a tape, in the words of one system.
#pragma once

#include <string>

#include "kvtape/systems.h"
#include "report/info.h"
#include "report/style.h"

namespace kvtape {

/// The classes and fields that the system would hold the cache in, and what of
/// it has no place there. Reads index and starts, no key or value.
std::string info_text_as(const NamedTape& tape, System system,
                         const TextStyle& style);

}  // namespace kvtape
