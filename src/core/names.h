// Enumerations and their words: one table each, looked up both ways.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace kvtape {

template <typename Enum, std::size_t N>
using Words = std::array<std::pair<Enum, std::string_view>, N>;

template <typename Enum, std::size_t N>
constexpr std::string_view word_of(const Words<Enum, N>& words, Enum value) {
  for (const auto& [key, word] : words)
    if (key == value) return word;
  return "?";
}

template <typename Enum, std::size_t N>
constexpr std::optional<Enum> value_of(const Words<Enum, N>& words,
                                       std::string_view text) {
  for (const auto& [key, word] : words)
    if (word == text) return key;
  return std::nullopt;
}

}  // namespace kvtape
