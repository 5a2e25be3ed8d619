// Names of the groups under /layers.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvtape {

/// The number that a name stands for: digits only, no leading zero.
inline std::optional<std::int64_t> layer_number(std::string_view name) {
  std::int64_t number = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, number);
  const bool canonical = name.size() == 1 || !name.starts_with('0');
  if (name.empty() || error != std::errc() || stop != end || number < 0 ||
      !canonical)
    return {};
  return number;
}

}  // namespace kvtape
