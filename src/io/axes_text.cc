#include "io/axes_text.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/names.h"

namespace kvtape {
namespace {

constexpr Words<AxisKind, 6> kKinds{{{AxisKind::kBatch, "batch"},
                                     {AxisKind::kPosition, "position"},
                                     {AxisKind::kToken, "token"},
                                     {AxisKind::kHead, "head"},
                                     {AxisKind::kDim, "dim"},
                                     {AxisKind::kLayer, "layer"}}};

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return "";
  return std::string(
      text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

// A batch axis is called what its source calls it where that is no other's
// word, else "batch", "batch2", ...
std::string word_for(const Axis& axis, const std::set<std::string>& taken) {
  if (axis.kind != AxisKind::kBatch) return std::string(axis_word(axis.kind));
  const bool usable = trimmed(axis.name) == axis.name && !axis.name.empty() &&
                      axis.name.find(',') == std::string::npos &&
                      axis_kind(axis.name) == AxisKind::kBatch &&
                      !taken.contains(axis.name);
  if (usable) return axis.name;
  std::string word = "batch";
  for (int number = 2; taken.contains(word); ++number)
    word = "batch" + std::to_string(number);
  return word;
}

}  // namespace

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t comma = text.find(',');
    words.push_back(trimmed(text.substr(0, comma)));
    if (comma == text.npos) return words;
    text.remove_prefix(comma + 1);
  }
}

std::string joined_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (&word == words.data() ? "" : ",") + word;
  return text;
}

AxisKind axis_kind(std::string_view word) {
  return value_of(kKinds, word).value_or(AxisKind::kBatch);
}

std::string_view axis_word(AxisKind kind) { return word_of(kKinds, kind); }

std::optional<std::vector<Axis>> axes_from_words(
    const std::vector<std::string>& words,
    std::span<const std::int64_t> sizes) {
  std::vector<Axis> axes;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty() || !seen.insert(words[i]).second) return {};
    axes.push_back({axis_kind(words[i]), words[i], sizes[i]});
  }
  return axes;
}

AxesText axes_text(std::span<const Axis> axes, std::string_view usual) {
  std::vector<std::string> words;
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const Axis& axis : axes) {
    words.push_back(word_for(axis, taken));
    taken.insert(words.back());
    names.push_back(axis.name);
  }
  AxesText text;
  if (words != names && std::any_of(names.begin(), names.end(),
                                    [](const auto& n) { return !n.empty(); }))
    text.names = joined_words(names);
  if (!text.names.empty() || joined_words(words) != usual)
    text.axes = joined_words(words);
  return text;
}

}  // namespace kvtape
