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

constexpr std::array<std::uint64_t, 9> kTens{
    1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// The number of eight digits, the first in the lowest byte: pairs, then fours,
// then all of them.
std::uint64_t number_of(std::uint64_t eight) {
  const std::uint64_t pairs = (eight * 10 + (eight >> 8)) & 0x00ff00ff00ff00ff;
  const std::uint64_t fours =
      (pairs * 100 + (pairs >> 16)) & 0x0000ffff0000ffff;
  return (fours * 10000 + (fours >> 32)) & 0xffffffff;
}

// Adds up to eight digits to the significand; returns how many. What comes
// next waits for that unless it is guessed: eight by a branch.
[[gnu::always_inline]] inline int take_eight(const char* at,
                                             std::uint64_t& significand) {
  const auto eight =
      load<std::uint64_t>(reinterpret_cast<const std::byte*>(at)) ^
      0x3030303030303030;
  // Digits have an upper half of 0 here, also with 6 added.
  const std::uint64_t others =
      ((eight + 0x0606060606060606) | eight) & 0xf0f0f0f0f0f0f0f0;
  if (others == 0) {
    significand = significand * kTens[8] + number_of(eight);
    return 8;
  }
  const int count = std::countr_zero(others) / 8;
  significand = significand * kTens[static_cast<std::size_t>(count)] +
                number_of(eight << 8 * (7 - count) << 8);
  return count;
}

// Adds digits to the significand; requires kShortRoom characters.
[[gnu::always_inline]] inline const char* take_digits(
    const char* at, std::uint64_t& significand) {
  const char* const most = at + kMostDigits + 1;
  const int first = take_eight(at, significand);
  at += first;
  if (first < 8) return at;
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

// The digits before the point: most often there is one.
const char* take_whole(const char* at, std::uint64_t& significand) {
  if (is_digit(at[1])) return take_digits(at, significand);
  if (!is_digit(*at)) return at;
  significand = static_cast<std::uint64_t>(*at - '0');
  return at + 1;
}

// What follows an e; null where that is no exponent.
const char* take_exponent(const char* at, int& exponent) {
  const bool minus = *at == '-';
  if (minus || *at == '+') ++at;
  if (!is_digit(*at)) return nullptr;
  int size = *at++ - '0';
  if (is_digit(*at)) size = size * 10 + (*at++ - '0');
  exponent += minus ? -size : size;
  return at;
}

// False where it is none, or one of many digits.
[[gnu::always_inline]] inline bool scan(const char* at, Decimal& decimal) {
  decimal.negative = *at == '-';
  at += decimal.negative;
  const char* const whole = at;
  at = take_whole(at, decimal.significand);
  std::ptrdiff_t digits = at - whole;
  if (digits == 0 || digits > kMostDigits || (*whole == '0' && digits > 1))
    return false;
  if (*at == '.') {
    const char* const fraction = ++at;
    at = take_digits(at, decimal.significand);
    digits += at - fraction;
    if (at == fraction || digits > kMostDigits) return false;
    decimal.exponent = -static_cast<int>(at - fraction);
  }
  if (*at == 'e' || *at == 'E') at = take_exponent(at + 1, decimal.exponent);
  decimal.end = at;
  return at != nullptr;
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
  // Not a branch: half of all numbers are negative.
  number = std::bit_cast<double>(std::bit_cast<std::uint64_t>(number) |
                                 std::uint64_t{decimal.negative} << 63);
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
constexpr std::uint64_t most_significand(DType dtype) {
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

template <DType kDType>
bool put_number(double number, std::byte* to) {
  if constexpr (kDType == DType::kF64) {
    store(to, number);
    return true;
  } else if constexpr (kDType == DType::kF32) {
    return put_f32(number, to);
  } else if constexpr (kDType == DType::kF16) {
    return put_16(number, kernels::to_f16, kernels::from_f16, to);
  } else {
    return put_16(number, kernels::to_bf16, kernels::from_bf16, to);
  }
}

template <DType kDType>
ShortDecimals read_all(std::string_view text, std::byte* to,
                       std::int64_t most) {
  const char* const end = text.data() + text.size();
  ShortDecimals done{.end = text.data()};
  for (; done.count < most && end - done.end >= kShortRoom; ++done.count) {
    Decimal decimal;
    double number = 0;
    if (!scan(done.end, decimal) || *decimal.end != ',' ||
        decimal.significand > most_significand(kDType) ||
        !number_of(decimal, number) || !put_number<kDType>(number, to))
      break;
    to += bytes_per_element(kDType);
    done.end = decimal.end + 1;
    while (done.end != end && is_space(*done.end)) ++done.end;
  }
  return done;
}

}  // namespace

ShortDecimals read_short_decimals(std::string_view text, DType dtype,
                                  std::byte* to, std::int64_t most) {
  switch (dtype) {
    case DType::kF64:
      return read_all<DType::kF64>(text, to, most);
    case DType::kF32:
      return read_all<DType::kF32>(text, to, most);
    case DType::kF16:
      return read_all<DType::kF16>(text, to, most);
    default:
      return read_all<DType::kBF16>(text, to, most);
  }
}

}  // namespace kvtape
