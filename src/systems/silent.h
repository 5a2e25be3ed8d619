// Errors of checked mode.
#pragma once

#include "kvtape/error.h"

namespace kvtape {

/// Throws an Error of these parts, whose line ends with what the system does
/// instead of failing, as a clause: "EasyDeL writes to slot 3".
[[noreturn]] void refuse_silent(ErrorParts parts, const std::string& instead);

}  // namespace kvtape
