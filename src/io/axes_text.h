// The attributes axes and axis_names.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Words between commas, blanks around them dropped.
std::vector<std::string> split_words(std::string_view text);

/// The words with commas between them.
std::string joined_words(const std::vector<std::string>& words);

/// "position", "token", "head", "dim" and "layer" mean themselves; every other
/// word is a batch axis.
AxisKind axis_kind(std::string_view word);
std::string_view axis_word(AxisKind kind);

/// Axes from words, in memory order. Requires as many words as sizes. Nothing
/// where a kind or a word stands twice.
std::optional<std::vector<Axis>> axes_from_words(
    const std::vector<std::string>& words, std::span<const std::int64_t> sizes);

/// What the attributes say; either is empty where it is not needed.
struct AxesText {
  std::string axes;
  std::string names;
};

/// The text that gives `axes` again; `usual` is the order that goes without.
AxesText axes_text(std::span<const Axis> axes, std::string_view usual);

}  // namespace kvtape
