// A part of a cache, as `--select` names it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kvtape {

/// One number, or a half-open range as in Python: 3, 0:4, -16:, :. Negative
/// bounds count from the end.
struct IndexRange {
  std::int64_t first = 0;
  std::optional<std::int64_t> last;  // absent: to the end
  friend bool operator==(const IndexRange&, const IndexRange&) = default;
};

/// Keys or values.
enum class TensorKind : std::uint8_t { kKey, kValue };
std::string_view name(TensorKind value);  // "key", "value"
std::optional<TensorKind> tensor_kind_from_name(std::string_view name);

/// What is absent is taken whole.
struct Selection {
  std::optional<IndexRange> layer;     // by the layers' numbers
  std::optional<IndexRange> row;       // of the (flattened) batch
  std::optional<IndexRange> head;      // key heads, with their query heads
  std::optional<IndexRange> position;  // slots
  std::optional<TensorKind> kind;
  friend bool operator==(const Selection&, const Selection&) = default;

  bool whole() const { return *this == Selection{}; }
};

/// Reads "layer=0:4,row=0,head=2,position=-16:,kind=key", fields in any order;
/// "batch" is another word for "row". Throws Error that names the field, what
/// is expected and how to write it.
Selection parse_selection(std::string_view text);

/// [first, last) with 0 <= first < last <= count.
struct Interval {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t size() const { return last - first; }
  friend bool operator==(const Interval&, const Interval&) = default;
};

/// The range among `count` things. Throws Error, said of `field`, where it is
/// empty or not inside [0, count); an absent range is all of them.
Interval resolved(const std::optional<IndexRange>& range, std::int64_t count,
                  std::string_view field);

}  // namespace kvtape
