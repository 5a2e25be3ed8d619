// Sizes in messages.
#pragma once

#include <string>

namespace kvtape {

/// "[2, 1024, 8, 64]"
template <typename Numbers>
std::string list_text(const Numbers& numbers) {
  std::string text = "[";
  for (const auto number : numbers) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(number);
  }
  return text + "]";
}

}  // namespace kvtape
