#include "io/float_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace kvtape {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kFractionBits = 23;
constexpr int kBias = 127 + kFractionBits;

// 10^k for an exponent k of 10 that a conversion needs, as 64 bits of which the
// first is set; rounded up where that is not exact.
constexpr int kLeastPower = -31;
constexpr int kMostPower = 45;

constexpr std::uint64_t top_bits(Wide number) {
  while (number >> 127 == 0) number <<= 1;
  const auto top = static_cast<std::uint64_t>(number >> 64);
  return static_cast<std::uint64_t>(number) == 0 ? top : top + 1;
}

// 64 bits of 1 / divisor, rounded up: no power of five but 1 divides.
constexpr std::uint64_t top_bits_of_inverse(Wide divisor) {
  Wide rest = 1;
  std::uint64_t quotient = 0;
  while (quotient >> 63 == 0) {
    rest <<= 1;
    const bool bit = rest >= divisor;
    if (bit) rest -= divisor;
    quotient = quotient << 1 | static_cast<std::uint64_t>(bit);
  }
  return quotient + 1;
}

// Powers of five: those of two only move the bits.
constexpr std::array<std::uint64_t, kMostPower - kLeastPower + 1> kPowers = [] {
  std::array<std::uint64_t, kMostPower - kLeastPower + 1> powers{};
  Wide five = 1;
  for (int k = 0; k <= kMostPower; ++k, five *= 5) {
    powers[static_cast<std::size_t>(k - kLeastPower)] = top_bits(five);
    if (k > 0 && -k >= kLeastPower)
      powers[static_cast<std::size_t>(-k - kLeastPower)] =
          top_bits_of_inverse(five);
  }
  return powers;
}();

// Floors of logarithms, for every exponent of f32 and more (Schubfach, 9.3).
constexpr int log10_of_power2(int e) { return (e * 1262611) >> 22; }
constexpr int log10_of_three_quarters(int e) {
  return (e * 1262611 - 524031) >> 22;
}
constexpr int log2_of_power10(int e) { return (e * 1741647) >> 19; }

// The upper 32 bits of power * number / 2^64, the last one also set where bits
// below it are.
std::uint32_t round_to_odd(std::uint64_t power, std::uint32_t number) {
  const auto product = static_cast<Wide>(power) * number;
  const auto upper = static_cast<std::uint32_t>(product >> 64);
  const auto below = static_cast<std::uint32_t>(product >> 32);
  return upper | static_cast<std::uint32_t>(below > 1);
}

struct Decimal {
  std::uint32_t digits = 0;  // at most nine
  int exponent = 0;          // of 10
};

// Of the decimals that are rounded to the value, one with the fewest digits
// that is nearest to it; its last digits may be zeros.
Decimal shortest(std::uint32_t bits) {
  const std::uint32_t fraction = bits & ((1U << kFractionBits) - 1);
  const std::uint32_t biased = bits >> kFractionBits & 0xff;
  const bool normal = biased != 0;
  const std::uint32_t c = normal ? fraction | 1U << kFractionBits : fraction;
  const int q = (normal ? static_cast<int>(biased) : 1) - kBias;
  // The neighbour below a power of two is half as far as the one above.
  const bool is_near = fraction == 0 && biased > 1;
  const int k = is_near ? log10_of_three_quarters(q) : log10_of_power2(q);
  const int shift = q + log2_of_power10(-k) + 1;
  const std::uint64_t power =
      kPowers[static_cast<std::size_t>(-k - kLeastPower)];
  // Four times the ends of what is rounded to the value, and the value.
  const std::uint32_t from = round_to_odd(
      power, (4 * c - 2 + static_cast<std::uint32_t>(is_near)) << shift);
  const std::uint32_t middle = round_to_odd(power, (4 * c) << shift);
  const std::uint32_t until = round_to_odd(power, (4 * c + 2) << shift);
  // Halfway goes to the even neighbour.
  const std::uint32_t odd = c & 1;
  const auto is_inside = [&](std::uint32_t number) {
    return static_cast<std::uint32_t>(from + odd <= 4 * number) &
           static_cast<std::uint32_t>(4 * number + odd <= until);
  };
  // What is chosen cannot be foreseen, so nothing here branches on it.
  const std::uint32_t whole = middle / 4;
  const std::uint32_t ten = whole / 10;
  const std::uint32_t ten_up = is_inside(10 * ten + 10);
  const bool is_shorter = (whole >= 10) & (is_inside(10 * ten) != ten_up);
  const std::uint32_t up = is_inside(whole + 1);
  const std::uint32_t is_alone = is_inside(whole) ^ up;
  const auto is_nearer =
      static_cast<std::uint32_t>(middle + (whole & 1) > 4 * whole + 2);
  const std::uint32_t one =
      whole + ((is_alone & up) | ((is_alone ^ 1) & is_nearer));
  return {is_shorter ? ten + ten_up : one, k + static_cast<int>(is_shorter)};
}

constexpr std::array<std::uint32_t, 10> kTens{
    1,       10,        100,        1'000,       10'000,
    100'000, 1'000'000, 10'000'000, 100'000'000, 1'000'000'000};

// Requires a number above 0.
int count_digits(std::uint32_t number) {
  const int guess =
      (static_cast<int>(std::bit_width(number)) * 1233) >> 12;  // * log10(2)
  return guess + (number >= kTens[static_cast<std::size_t>(guess)]);
}

// A number of eight digits as its characters, the first in the lowest byte; it
// is split into halves, quarters and eighths.
std::uint64_t eight_digits(std::uint32_t number) {
  const std::uint64_t upper = number / 10000;
  const std::uint64_t fours = upper | (number - upper * 10000) << 32;
  const std::uint64_t hundreds = ((fours * 5243) >> 19) & 0x0000007f'0000007f;
  const std::uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
  const std::uint64_t tens = ((twos * 103) >> 10) & 0x000f'000f'000f'000f;
  return (tens | (twos - tens * 10) << 8) + 0x30303030'30303030;
}

// The digits of a number, nine with the zeros behind them.
struct Digits {
  char first;
  std::uint64_t others;
  int count;
};

Digits digits_of(std::uint32_t number) {
  const int count = count_digits(number);
  number *= kTens[static_cast<std::size_t>(9 - count)];
  const std::uint32_t first = number / 100'000'000;
  return {static_cast<char>('0' + first),
          eight_digits(number - first * 100'000'000), count};
}

void put_eight(char* to, std::uint64_t characters) {
  std::memcpy(to, &characters, sizeof characters);
}

// d.ddde-XX; no exponent of f32 has more digits.
char* put_scientific(char* to, const Digits& digits, int exponent) {
  *to = digits.first;
  to[1] = '.';
  put_eight(to + 2, digits.others);
  to += digits.count == 1 ? 1 : digits.count + 1;
  const int size = std::abs(exponent);
  *to++ = 'e';
  *to++ = exponent < 0 ? '-' : '+';
  *to++ = static_cast<char>('0' + size / 10);
  *to++ = static_cast<char>('0' + size % 10);
  return to;
}

// 0.000ddd, ddd.ddd or ddd000, where the first digit's exponent is from -5 to
// 7. All three are written alike: which one it is could not be foreseen.
char* put_fixed(char* to, const Digits& digits, int exponent) {
  const bool is_small = exponent < 0;
  const int before = is_small ? 0 : exponent;  // the point, but for the first
  char* const first = to + (is_small ? 1 - exponent : 0);
  put_eight(to, 0x30303030'30303030);
  *first = digits.first;
  put_eight(first + 1, digits.others);
  to[before + 1] = '.';
  put_eight(is_small ? first + 1 : to + before + 2,
            digits.others >> 8 * before);
  char* const end = first + digits.count + (is_small ? 0 : 1);
  return !is_small && digits.count <= exponent + 1 ? to + exponent + 1 : end;
}

// Is ddd.ddd longer than d.ddde-XX? The exponent is that of the first digit.
bool is_longer_fixed(int digits, int exponent) {
  if (exponent >= -3 && exponent <= 4) return false;
  const int scientific = digits == 1 ? 5 : digits + 5;
  if (exponent < 0) return digits + 1 - exponent > scientific;
  return std::max(exponent + 1, digits + 1) > scientific;
}

}  // namespace

char* put_float_text(char* to, float value) {
  // From here on, integers are spelled with all of their digits.
  constexpr float kLarge = 1 << 24;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  *to = '-';
  to += bits >> 31;
  Decimal decimal = shortest(bits);
  while (decimal.digits % 10 == 0) {
    decimal.digits /= 10;
    ++decimal.exponent;
  }
  const Digits digits = digits_of(decimal.digits);
  const int exponent = decimal.exponent + digits.count - 1;  // of the first
  if (is_longer_fixed(digits.count, exponent))
    return put_scientific(to, digits, exponent);
  if (std::fabs(value) >= kLarge)
    return std::to_chars(to, to + kFloatTextRoom, std::fabs(value)).ptr;
  return put_fixed(to, digits, exponent);
}

}  // namespace kvtape
