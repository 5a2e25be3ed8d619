// Blocks of numbers on the stack between the kernels that widen and narrow.
#include "kernels/convert.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

constexpr std::int64_t kNumbers = 1024;  // of a block

using Floats = std::array<float, kNumbers>;
using Doubles = std::array<double, kNumbers>;

void load_doubles(const std::byte* data, Element from, std::int64_t count,
                  Doubles& out) {
  if (from == Element::kF64) {
    std::memcpy(out.data(), data, static_cast<std::size_t>(count) * 8);
    return;
  }
  Floats floats;
  active().widen(data, from, 1, count, floats.data());
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    out[i] = static_cast<double>(floats[i]);
}

void convert_block(const std::byte* data, Element from, std::int64_t count,
                   Element to, std::byte* out) {
  if (from == Element::kF64 || to == Element::kF64) {
    Doubles doubles;
    load_doubles(data, from, count, doubles);
    return active().narrow_f64(doubles.data(), count, to, out);
  }
  Floats floats;
  active().widen(data, from, 1, count, floats.data());
  active().narrow_f32(floats.data(), count, to, out);
}

// The differences' bits, which order as the differences do: none is negative.
// Infinity stands for a number that became infinite, and is greater than all;
// NaN, from NaN and from an infinity that stays one, is greater still.
template <typename Number, typename Bits>
Rounding compared(const Number* before, const Number* after,
                  std::int64_t count) {
  constexpr Bits kInf =
      std::bit_cast<Bits>(std::numeric_limits<Number>::infinity());
  Rounding result;
  Bits largest = 0;
  Bits changed = 0;
  Bits infinite = 0;
  Bits zero = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Number difference = after[i] - before[i];
    const Bits bits =
        std::bit_cast<Bits>(difference) & ~(Bits{1} << (8 * sizeof(Bits) - 1));
    changed += bits - 1 < kInf ? 1 : 0;
    infinite += bits == kInf ? 1 : 0;
    zero += (after[i] == 0) & (before[i] != 0) ? 1 : 0;
    const Bits finite = bits < kInf ? bits : 0;
    largest = largest < finite ? finite : largest;
  }
  result.changed = static_cast<std::int64_t>(changed);
  result.infinite = static_cast<std::int64_t>(infinite);
  result.zero = static_cast<std::int64_t>(zero);
  if (result.infinite > 0) {
    const auto inf = std::numeric_limits<Number>::infinity();
    while (std::abs(after[result.infinite_at] - before[result.infinite_at]) !=
           inf)
      ++result.infinite_at;
  }
  const Number most = std::bit_cast<Number>(largest);
  result.largest = static_cast<double>(most);
  if (largest == 0) return result;
  while (std::abs(after[result.at] - before[result.at]) != most) ++result.at;
  return result;
}

Rounding block_rounding(const std::byte* data, Element from, std::int64_t count,
                        Element to) {
  std::array<std::byte, kNumbers * 8> narrow;
  convert_block(data, from, count, to, narrow.data());
  if (from != Element::kF64) {
    Floats before;
    Floats after;
    active().widen(data, from, 1, count, before.data());
    active().widen(narrow.data(), to, 1, count, after.data());
    return compared<float, std::uint32_t>(before.data(), after.data(), count);
  }
  Doubles before;
  Doubles after;
  load_doubles(data, from, count, before);
  load_doubles(narrow.data(), to, count, after);
  return compared<double, std::uint64_t>(before.data(), after.data(), count);
}

void add(Rounding& total, const Rounding& block, std::int64_t first) {
  if (total.infinite == 0 && block.infinite > 0)
    total.infinite_at = first + block.infinite_at;
  total.changed += block.changed;
  total.infinite += block.infinite;
  total.zero += block.zero;
  if (block.largest <= total.largest) return;
  total.largest = block.largest;
  total.at = first + block.at;
}

}  // namespace

void convert(const std::byte* data, Element from, std::int64_t count,
             Element to, std::byte* out) {
  if (from == to) {
    std::copy_n(data, count * bytes_of(from), out);
    return;
  }
  for (std::int64_t first = 0; first < count; first += kNumbers)
    convert_block(data + first * bytes_of(from), from,
                  std::min(kNumbers, count - first), to,
                  out + first * bytes_of(to));
}

bool holds_all(Element from, Element to) {
  if (from == to || to == Element::kF64) return true;
  return to == Element::kF32 && from != Element::kF64;
}

Rounding rounding(const std::byte* data, Element from, std::int64_t count,
                  Element to) {
  Rounding total;
  if (holds_all(from, to)) return total;
  for (std::int64_t first = 0; first < count; first += kNumbers)
    add(total,
        block_rounding(data + first * bytes_of(from), from,
                       std::min(kNumbers, count - first), to),
        first);
  return total;
}

}  // namespace kvtape::kernels
