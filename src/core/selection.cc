// The grammar of `--select`.
#include "kvtape/selection.h"

#include <array>
#include <charconv>
#include <string>

#include "core/names.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr Words<TensorKind, 2> kKinds{
    {{TensorKind::kKey, "key"}, {TensorKind::kValue, "value"}}};

struct Field {
  std::string_view name;
  std::optional<IndexRange> Selection::*range;
};
constexpr auto kFields = std::to_array<Field>({
    {"layer", &Selection::layer},
    {"row", &Selection::row},
    {"batch", &Selection::row},
    {"head", &Selection::head},
    {"position", &Selection::position},
});

constexpr std::string_view kOption = "--select";
constexpr std::string_view kExample =
    "for example layer=0:4,row=0,head=2,position=-16:,kind=key";

[[noreturn]] void refuse(std::string_view field, std::string expected,
                         std::string_view found, std::string hint) {
  throw Error({.object = std::string(kOption),
               .field = std::string(field),
               .expected = std::move(expected),
               .found = "'" + std::string(found) + "'",
               .hint = std::move(hint)});
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return {};
  return value;
}

// The one after a single number; -1 is the last, and nothing is after it.
std::optional<std::int64_t> next(std::int64_t value) {
  if (value == -1 || value == INT64_MAX) return {};
  return value + 1;
}

std::optional<IndexRange> parsed_range(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos) {
    const auto only = number(text);
    if (!only) return {};
    return IndexRange{.first = *only, .last = next(*only)};
  }
  IndexRange range;
  const std::string_view first = text.substr(0, colon);
  const std::string_view last = text.substr(colon + 1);
  const auto begin = number(first);
  range.last = number(last);
  if ((!first.empty() && !begin) || (!last.empty() && !range.last)) return {};
  range.first = begin.value_or(0);
  return range;
}

void read_kind(Selection& selection, std::string_view value) {
  if (selection.kind)
    refuse("kind", "each field once", value, "leave it out to take both");
  selection.kind = tensor_kind_from_name(value);
  if (!selection.kind)
    refuse("kind", "key or value", value, "leave it out to take both");
}

void read_range(Selection& selection, const Field& field,
                std::string_view value) {
  auto& range = selection.*field.range;
  if (range)
    refuse(field.name, "each field once", value,
           "one range takes neighbours: " + std::string(field.name) + "=0:4");
  range = parsed_range(value);
  if (!range)
    refuse(field.name, "a number or a range", value,
           "ranges are half open and count from the end where they are "
           "negative: 3, 0:4, -16:");
}

void read_part(Selection& selection, std::string_view part) {
  const std::size_t equals = part.find('=');
  const std::string_view word = part.substr(0, equals);
  if (equals == part.npos)
    refuse("", "FIELD=RANGE", part, std::string(kExample));
  const std::string_view value = part.substr(equals + 1);
  if (word == "kind") return read_kind(selection, value);
  for (const Field& field : kFields)
    if (field.name == word) return read_range(selection, field, value);
  refuse("", "layer, row, head, position or kind", word, std::string(kExample));
}

std::string text_of(const IndexRange& range) {
  if (range.last == next(range.first)) return std::to_string(range.first);
  return std::to_string(range.first) + ":" +
         (range.last ? std::to_string(*range.last) : "");
}

std::int64_t from_end(std::int64_t bound, std::int64_t count) {
  return bound < 0 ? bound + count : bound;
}

}  // namespace

std::string_view name(TensorKind value) { return word_of(kKinds, value); }

std::optional<TensorKind> tensor_kind_from_name(std::string_view name) {
  return value_of(kKinds, name);
}

Selection parse_selection(std::string_view text) {
  Selection selection;
  for (;;) {
    const std::size_t comma = text.find(',');
    read_part(selection, text.substr(0, comma));
    if (comma == text.npos) return selection;
    text.remove_prefix(comma + 1);
  }
}

Interval resolved(const std::optional<IndexRange>& range, std::int64_t count,
                  std::string_view field) {
  if (!range) return {.first = 0, .last = count};
  const std::int64_t first = from_end(range->first, count);
  const std::int64_t last = from_end(range->last.value_or(count), count);
  if (first >= 0 && first < last && last <= count)
    return {.first = first, .last = last};
  throw Error({.object = std::string(kOption),
               .field = std::string(field),
               .expected = count > 0
                               ? "numbers in 0:" + std::to_string(count)
                               : "none: there is no " + std::string(field),
               .found = text_of(*range),
               .hint = "a range is half open, A:B with A < B; negative "
                       "numbers count from the end"});
}

}  // namespace kvtape
