#include "systems/silent.h"

#include <utility>

namespace kvtape {

void refuse_silent(ErrorParts parts, const std::string& instead) {
  parts.found += "; without a word, " + instead;
  parts.hint = "faithful mode does the same";
  throw Error(std::move(parts));
}

}  // namespace kvtape
