#include "io/short_decimal.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/elements.h"

namespace kvtape {
namespace {

using kernels::load;
using kernels::store;

constexpr std::ptrdiff_t kMostDigits = 18;  // of a significand in 64 bits
constexpr std::uint64_t kExact = std::uint64_t{1} << 53;
constexpr int kMostPower = 22;  // 10^22 is the last power that f64 holds

constexpr std::array<double, kMostPower + 1> kPowers{
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool ends_value(char c) {
  return c == ',' || c == ']' || c == ' ' || c == '\n' || c == '\t' ||
         c == '\r';
}

// Whether eight characters are digits: upper halves 3, and lower ones below 10.
bool are_digits(std::uint64_t eight) {
  constexpr std::uint64_t kUpper = 0xf0f0f0f0f0f0f0f0;
  return ((eight & kUpper) | ((eight + 0x0606060606060606) & kUpper) >> 4) ==
         0x3333333333333333;
}

// The number of eight digits, the first in the lowest byte: pairs, then fours,
// then all of them.
std::uint64_t number_of(std::uint64_t eight) {
  eight -= 0x3030303030303030;
  const std::uint64_t pairs = (eight * 10 + (eight >> 8)) & 0x00ff00ff00ff00ff;
  const std::uint64_t fours =
      (pairs * 100 + (pairs >> 16)) & 0x0000ffff0000ffff;
  return (fours * 10000 + (fours >> 32)) & 0xffffffff;
}

// Adds digits to the significand; requires kShortRoom characters.
const char* take_digits(const char* at, std::uint64_t& significand) {
  const char* const most = at + kMostDigits + 1;
  if (const auto eight =
          load<std::uint64_t>(reinterpret_cast<const std::byte*>(at));
      are_digits(eight)) {
    significand = significand * 100000000 + number_of(eight);
    at += 8;
  }
  for (; at != most && is_digit(*at); ++at)
    significand = significand * 10 + static_cast<std::uint64_t>(*at - '0');
  return at;
}

struct Decimal {
  const char* end = nullptr;
  std::uint64_t significand = 0;
  int exponent = 0;  // of 10
  bool negative = false;
};

// False where it is none, or one of many digits.
bool scan(const char* at, Decimal& decimal) {
  decimal.negative = *at == '-';
  if (decimal.negative) ++at;
  const char* whole = at;
  at = take_digits(at, decimal.significand);
  std::ptrdiff_t digits = at - whole;
  if (digits == 0 || digits > kMostDigits || (*whole == '0' && digits > 1))
    return false;
  if (*at == '.') {
    const char* fraction = ++at;
    at = take_digits(at, decimal.significand);
    digits += at - fraction;
    if (at == fraction || digits > kMostDigits) return false;
    decimal.exponent = -static_cast<int>(at - fraction);
  }
  if (*at == 'e' || *at == 'E') {
    const bool minus = *++at == '-';
    if (minus || *at == '+') ++at;
    if (!is_digit(*at)) return false;
    int exponent = *at++ - '0';
    if (is_digit(*at)) exponent = exponent * 10 + (*at++ - '0');
    decimal.exponent += minus ? -exponent : exponent;
  }
  decimal.end = at;
  return ends_value(*at);
}

// One rounding: of the product or quotient of two numbers that f64 holds
// (Clinger 1990). False where they are not.
bool number_of(const Decimal& decimal, double& number) {
  const int power = decimal.exponent;
  if (decimal.significand > kExact || power > kMostPower || power < -kMostPower)
    return false;
  const auto significand = static_cast<double>(decimal.significand);
  number = power < 0 ? significand / kPowers[static_cast<std::size_t>(-power)]
                     : significand * kPowers[static_cast<std::size_t>(power)];
  if (decimal.negative) number = -number;
  return true;
}

// A second rounding is none unless the first one led to the middle between two
// neighbours, or to numbers with fewer bits.
bool put_f32(double number, std::byte* to) {
  constexpr std::uint64_t kDropped = (std::uint64_t{1} << 29) - 1;
  constexpr std::uint64_t kMiddle = std::uint64_t{1} << 28;
  const auto bits = std::bit_cast<std::uint64_t>(number);
  const double size = std::fabs(number);
  if ((bits & kDropped) == kMiddle || (size < 0x1p-126 && size != 0) ||
      size > 0x1.fffffep127)
    return false;
  store(to, static_cast<float>(number));
  return true;
}

template <typename Narrow, typename Widen>
bool put_16(double number, Narrow narrow, Widen widen, std::byte* to) {
  const std::uint16_t bits = narrow(number);
  const auto kept = static_cast<double>(widen(bits));
  if (!std::isfinite(kept) || (kept == 0 && number != 0)) return false;
  store(to, bits);
  return true;
}

// Text of more digits has to be an element exactly; that is not seen here.
std::uint64_t most_significand(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return kExact;
    case DType::kF32:
      return 999999999;
    case DType::kF16:
      return 99999;
    default:
      return 9999;
  }
}

}  // namespace

const char* read_short_decimal(const char* at, const char* end, DType dtype,
                               std::byte* to) {
  Decimal decimal;
  double number = 0;
  if (end - at < kShortRoom || !scan(at, decimal) ||
      decimal.significand > most_significand(dtype) ||
      !number_of(decimal, number))
    return nullptr;
  switch (dtype) {
    case DType::kF64:
      store(to, number);
      return decimal.end;
    case DType::kF32:
      return put_f32(number, to) ? decimal.end : nullptr;
    case DType::kF16:
      return put_16(number, kernels::to_f16, kernels::from_f16, to)
                 ? decimal.end
                 : nullptr;
    default:
      return put_16(number, kernels::to_bf16, kernels::from_bf16, to)
                 ? decimal.end
                 : nullptr;
  }
}

}  // namespace kvtape
