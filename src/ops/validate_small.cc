// Checks of the values of masks, tokens, slot_position, scales and codes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/validate_checks.h"
#include "ops/validate_tally.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

/// Elements for which something holds, by their number in C order.
struct Places {
  std::int64_t count = 0;
  std::int64_t first = 0;

  void add(std::int64_t at) {
    if (count++ == 0) first = at;
  }
};

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

std::vector<std::int64_t> whole_row(const Tensor& tensor, std::int64_t row,
                                    SlabReader& reader) {
  return row_integers(
      tensor, {.row = row, .count = extent(tensor, AxisKind::kPosition)},
      reader);
}

// EasyDeL reads one of the two, depending on the operator: the masked places
// on the left of a row should be as many as starts says.
void check_mask_against_starts(const Cache& cache, Findings& findings) {
  if (!cache.attention_mask || is_float(cache.attention_mask->dtype)) return;
  const Tensor& mask = *cache.attention_mask;
  SlabReader reader;
  for (const auto& [number, layer] : cache.layers) {
    if (!is_usable(layer)) continue;
    const RowMarks marks(layer);
    if (!marks.starts || !has_axis(mask, AxisKind::kPosition)) continue;
    const auto rows = std::min<std::size_t>(
        marks.starts->size(),
        static_cast<std::size_t>(extent(mask, AxisKind::kBatch)));
    for (std::size_t row = 0; row < rows; ++row) {
      if (marks.index && (*marks.index)[row] <= 0) continue;
      const auto bits = whole_row(mask, static_cast<std::int64_t>(row), reader);
      const std::int64_t hidden =
          std::find_if(bits.begin(), bits.end(),
                       [](std::int64_t bit) { return bit != 0; }) -
          bits.begin();
      const std::int64_t starts = (*marks.starts)[row];
      if (hidden == starts || starts >= static_cast<std::int64_t>(bits.size()))
        continue;
      findings.add({.rule = "W56",
                    .object = "/attention_mask",
                    .field = "values",
                    .expected = fmt::format("{} zeros on the left of row {}, "
                                            "as starts of layer {}",
                                            starts, row, number),
                    .found = std::to_string(hidden)});
      return;
    }
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
  SlabReader reader;
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
      const std::string flaw =
          position_flaw(layer, has.position, index,
                        whole_row(*layer.slot_position, row, reader));
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

struct Scales {
  Places bad;  // NaN, infinite or negative
  Places zero;
};

Scales scales_of(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  const Extents has = extents_of(tensor);
  const bool nf4 = q.scheme == Quantization::Scheme::kNF4;
  const std::vector<std::int64_t> sizes =
      nf4 ? std::vector{q.scale_count}
          : std::vector{has.batch, has.position, has.heads, std::int64_t{1}};
  const int size = bytes_per_element(q.scale_dtype);
  const auto& kernels = kernels::active();
  Scales scales;
  std::vector<float> widened;
  for_each_run(
      *q.scales, sizes, size,
      [&](std::int64_t first, std::span<const std::byte> bytes) {
        constexpr std::size_t kBlock = 4096;  // floats at a time
        const std::size_t count = bytes.size() / static_cast<std::size_t>(size);
        for (std::size_t at = 0; at < count; at += kBlock) {
          widened.resize(std::min(kBlock, count - at));
          kernels.widen(bytes.data() + at * static_cast<std::size_t>(size),
                        kernel_element(q.scale_dtype), 1,
                        static_cast<std::int64_t>(widened.size()),
                        widened.data());
          for (std::size_t i = 0; i < widened.size(); ++i) {
            const auto place = first + static_cast<std::int64_t>(at + i);
            if (!(widened[i] >= 0) || std::isinf(widened[i]))
              scales.bad.add(place);
            else if (widened[i] == 0)
              scales.zero.add(place);
          }
        }
      });
  return scales;
}

// The row, position and head of a scale of int8, the number of another one.
std::string scale_text(const Tensor& tensor, std::int64_t at) {
  if (tensor.quantization.scheme == Quantization::Scheme::kNF4)
    return fmt::format("first in block {}", at);
  const Extents has = extents_of(tensor);
  return fmt::format("first in row {} position {} head {}",
                     at / has.heads / has.position,
                     at / has.heads % has.position, at % has.heads);
}

// -128: a cast to int8 that wrapped (seeds.md 3.1).
Places wrapped_codes(const Tensor& tensor) {
  const Extents has = extents_of(tensor);
  Places places;
  for_each_run(*tensor.source, {has.batch, has.position, has.heads, has.dims},
               1, [&](std::int64_t first, std::span<const std::byte> bytes) {
                 const auto count =
                     std::count(bytes.begin(), bytes.end(), std::byte{0x80});
                 if (count == 0) return;
                 if (places.count == 0)
                   places.first = first + (std::find(bytes.begin(), bytes.end(),
                                                     std::byte{0x80}) -
                                           bytes.begin());
                 places.count += count;
               });
  return places;
}

void report_scales(const char* rule, const std::string& path,
                   const Tensor& tensor, const Places& places,
                   const char* expected, Findings& findings) {
  if (places.count == 0) return;
  findings.add({.rule = rule,
                .object = path,
                .field = "scales",
                .expected = expected,
                .found = fmt::format("{} others, {}", places.count,
                                     scale_text(tensor, places.first))});
}

void check_quantized_values(const std::string& path, const Tensor& tensor,
                            Findings& findings) {
  const Scales scales = scales_of(tensor);
  report_scales("E75", path, tensor, scales.bad, "finite numbers, not negative",
                findings);
  // NF4 stores 0 for a block of zeros, int8 never does (seeds.md 3).
  if (tensor.quantization.scheme != Quantization::Scheme::kInt8) return;
  report_scales("W53", path, tensor, scales.zero, "positive numbers", findings);
  const Places wrapped = wrapped_codes(tensor);
  if (wrapped.count == 0) return;
  const std::int64_t dims = extents_of(tensor).dims;
  findings.add({.rule = "W54",
                .object = path,
                .field = "codes",
                .expected = "-127 to 127",
                .found = fmt::format("{} of -128, {} dim {}", wrapped.count,
                                     scale_text(tensor, wrapped.first / dims),
                                     wrapped.first % dims)});
}

void check_all_quantized(const Cache& cache, Findings& findings) {
  for (const auto& [number, layer] : cache.layers)
    for (const bool is_key : {true, false}) {
      const auto& tensor = is_key ? layer.key : layer.value;
      if (tensor && tensor->quantized() && has_usable_axes(*tensor) &&
          element_count(*tensor) > 0 && is_sound(tensor->quantization, *tensor))
        check_quantized_values(
            layer_path(number) + (is_key ? "/key" : "/value"), *tensor,
            findings);
    }
}

}  // namespace

void check_small_values(const Tape& tape, Findings& findings) {
  check_all_masks(tape, findings);
  check_tokens(tape.cache, findings);
  check_mask_against_starts(tape.cache, findings);
  check_slot_positions(tape.cache, findings);
  check_all_quantized(tape.cache, findings);
}

}  // namespace kvtape
