// What to do where a system goes on without a word.
#pragma once

#include <cstdint>

namespace kvtape {

enum class Mode : std::uint8_t {
  kChecked,   // an Error that says what the system would have done
  kFaithful,  // what the system does
};

}  // namespace kvtape
