// Checks of the values of masks, tokens and slot_position.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ops/integer_rows.h"
#include "ops/validate_checks.h"
#include "ops/validate_places.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

std::vector<std::int64_t> sizes_of(const Tensor& tensor) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  return sizes;
}

// "[0, 3]": where in the tensor an element is.
std::string place_text(const Tensor& tensor, std::int64_t at) {
  std::vector<std::int64_t> index(tensor.axes.size());
  for (std::size_t i = index.size(); i-- > 0; at /= tensor.axes[i].size)
    index[i] = at % tensor.axes[i].size;
  return text_of(index);
}

template <typename T, typename Bad>
void collect(std::span<const std::byte> bytes, std::int64_t first,
             const Bad& bad, Places& places) {
  const auto count = static_cast<std::int64_t>(bytes.size() / sizeof(T));
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * static_cast<std::int64_t>(sizeof(T)),
                sizeof(T));
    if (bad(value)) places.add(first + i);
  }
}

// Elements of an integer tensor for which `bad` holds.
template <typename Bad>
Places places_where(const Tensor& tensor, const Bad& bad) {
  Places places;
  const auto with = [&]<typename T>(T) {
    for_each_run(*tensor.source, sizes_of(tensor), sizeof(T),
                 [&](std::int64_t first, std::span<const std::byte> bytes) {
                   collect<T>(bytes, first, bad, places);
                 });
  };
  switch (tensor.dtype) {
    case DType::kI64:
      with(std::int64_t{});
      break;
    case DType::kI32:
      with(std::int32_t{});
      break;
    case DType::kI16:
      with(std::int16_t{});
      break;
    case DType::kI8:
      with(std::int8_t{});
      break;
    case DType::kU64:
      with(std::uint64_t{});
      break;
    case DType::kU32:
      with(std::uint32_t{});
      break;
    case DType::kU16:
      with(std::uint16_t{});
      break;
    case DType::kU8:
    case DType::kBool:
      with(std::uint8_t{});
      break;
    default:
      break;  // floats have their own rule
  }
  return places;
}

// EasyDeL's masks are compared with 1, TransformerLens' with 0.
void check_mask(const std::string& path, const std::optional<Tensor>& mask,
                Findings& findings) {
  if (!mask) return;
  const Places odd =
      places_where(*mask, [](auto value) { return value != 0 && value != 1; });
  if (odd.count == 0) return;
  findings.add({.rule = "W55",
                .object = path,
                .field = "values",
                .expected = "0 or 1",
                .found = fmt::format("{} others, first at {}", odd.count,
                                     place_text(*mask, odd.first))});
}

void check_all_masks(const Tape& tape, Findings& findings) {
  check_mask("/attention_mask", tape.cache.attention_mask, findings);
  if (tape.final_state)
    check_mask("/final/attention_mask", tape.final_state->attention_mask,
               findings);
  if (!tape.trace) return;
  check_mask("/trace/attention_mask", tape.trace->attention_mask, findings);
  check_mask("/trace/token_mask", tape.trace->token_mask, findings);
  for (const auto& [number, layer] : tape.trace->layers)
    check_mask("/trace" + layer_path(number) + "/attention_mask",
               layer.attention_mask, findings);
}

void check_tokens(const Cache& cache, Findings& findings) {
  if (!cache.tokens) return;
  const Places negative = places_where(*cache.tokens, [](auto value) {
    return static_cast<std::int64_t>(value) < 0;
  });
  if (negative.count == 0) return;
  findings.add(
      {.rule = "W57",
       .object = "/tokens",
       .field = "values",
       .expected = ">= 0",
       .found = fmt::format("{} negative, first at {}", negative.count,
                            place_text(*cache.tokens, negative.first))});
}

std::int64_t zeros_on_the_left(const std::vector<std::int64_t>& bits) {
  return std::find_if(bits.begin(), bits.end(),
                      [](std::int64_t bit) { return bit != 0; }) -
         bits.begin();
}

// The first row with filled slots where mask and starts differ.
bool disagrees(std::int64_t number, const RowMarks& marks, const Tensor& mask,
               Findings& findings) {
  const auto rows = std::min<std::size_t>(
      marks.starts->size(),
      static_cast<std::size_t>(extent(mask, AxisKind::kBatch)));
  for (std::size_t row = 0; row < rows; ++row) {
    if (marks.index && (*marks.index)[row] <= 0) continue;
    const auto bits = integer_row(mask, static_cast<std::int64_t>(row));
    const std::int64_t hidden = zeros_on_the_left(bits);
    const std::int64_t starts = (*marks.starts)[row];
    if (hidden == starts || starts >= static_cast<std::int64_t>(bits.size()))
      continue;
    findings.add({.rule = "W56",
                  .object = "/attention_mask",
                  .field = "values",
                  .expected = fmt::format(
                      "{} zeros on the left of row {}, as starts of layer {}",
                      starts, row, number),
                  .found = std::to_string(hidden)});
    return true;
  }
  return false;
}

// EasyDeL reads one of the two, depending on the operator: the masked places
// on the left of a row should be as many as starts says.
void check_mask_against_starts(const Cache& cache, Findings& findings) {
  if (!cache.attention_mask || is_float(cache.attention_mask->dtype) ||
      !has_axis(*cache.attention_mask, AxisKind::kPosition))
    return;
  for (const auto& [number, layer] : cache.layers) {
    if (!is_usable(layer)) continue;
    const RowMarks marks(layer);
    if (marks.starts &&
        disagrees(number, marks, *cache.attention_mask, findings))
      return;
  }
}

/// What is wrong with the positions of a row, if anything.
std::string position_flaw(const LayerCache& layer, std::int64_t slots,
                          std::optional<std::int64_t> index,
                          const std::vector<std::int64_t>& positions) {
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const std::int64_t position = positions[static_cast<std::size_t>(slot)];
    if (position < -1 || (index && *index >= 0 && position >= *index))
      return fmt::format("{} in slot {}", position, slot);
    if (position >= 0 && layout_of(layer) == Layout::kRing &&
        position % slots != slot)
      return fmt::format("{} in slot {} of a ring of {}", position, slot,
                         slots);
  }
  auto sorted = positions;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i] >= 0 && sorted[i] == sorted[i - 1])
      return fmt::format("{} in two slots", sorted[i]);
  return {};
}

void check_slot_positions(const Cache& cache, Findings& findings) {
  for (const auto& [number, layer] : cache.layers) {
    if (!layer.slot_position || !is_usable(layer)) continue;
    const Extents has = extents_of(*layer.slot_position);
    const Extents want = extents_of(*either(layer));
    if (is_float(layer.slot_position->dtype) || has.batch != want.batch ||
        has.position != want.position)
      continue;
    const RowMarks marks(layer);
    for (std::int64_t row = 0; row < has.batch; ++row) {
      std::optional<std::int64_t> index;
      if (marks.index) index = (*marks.index)[static_cast<std::size_t>(row)];
      const std::string flaw = position_flaw(
          layer, has.position, index, integer_row(layer.slot_position, row));
      if (flaw.empty()) continue;
      findings.add({.rule = "E76",
                    .object = layer_path(number) + "/slot_position",
                    .field = "values",
                    .expected = "-1, or each position below index once",
                    .found = fmt::format("{}, row {}", flaw, row)});
      break;
    }
  }
}

}  // namespace

void check_small_values(const Tape& tape, Findings& findings) {
  check_all_masks(tape, findings);
  check_tokens(tape.cache, findings);
  check_mask_against_starts(tape.cache, findings);
  check_slot_positions(tape.cache, findings);
}

}  // namespace kvtape
