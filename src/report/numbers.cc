// Numbers as text; nothing here depends on the locale.
#include "report/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace kvtape {
namespace {

// Three digits: "2.10", "12.6", "126". Requires 1 <= value < 1000.
std::string three_digits(double value) {
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}", value, decimals);
}

std::string value_text(double value, int digits) {
  if (!std::isfinite(value)) return nonfinite_text(value);
  return fmt::format("{:.{}g}", value, digits);
}

}  // namespace

std::string count_text(std::int64_t count) {
  std::string text = fmt::format("{}", count);
  const std::size_t sign = count < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > sign + 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array kUnits{"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.5) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}", three_digits(value), kUnits[unit]);
}

std::string error_text(double error, int precision) {
  if (!std::isfinite(error)) return nonfinite_text(error);
  if (error == 0) return "0";
  return fmt::format("{:.{}e}", error, std::clamp(precision, 1, 17) - 1);
}

std::string setting_text(double value) {
  if (!std::isfinite(value)) return nonfinite_text(value);
  return fmt::format("{}", value);
}

std::pair<std::string, std::string> value_pair(double first, double second,
                                               int precision) {
  int digits = std::clamp(precision, 6, 17);
  std::string left = value_text(first, digits);
  std::string right = value_text(second, digits);
  const bool differ = first < second || first > second;
  while (differ && left == right && digits < 17) {
    ++digits;
    left = value_text(first, digits);
    right = value_text(second, digits);
  }
  return {left, right};
}

std::string percent_text(std::int64_t part, std::int64_t whole) {
  if (part == whole) return "100%";
  if (part == 0) return "0%";
  const double percent =
      100 * static_cast<double>(part) / static_cast<double>(whole);
  if (percent < 0.001) return "<0.001%";
  if (percent > 99.9) return ">99.9%";
  return fmt::format("{:.2g}%", percent);
}

std::string shortest_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

std::string nonfinite_text(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

// value = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), where
// ln(mantissa) = 2 artanh(s) with |s| < 0.172: eleven terms leave 1e-18.
double log10_of(double value) {
  constexpr double kLog10Of2 = 0.30102999566398119521;
  constexpr double kLog10OfE = 0.43429448190325182765;
  int exponent = 0;
  double mantissa = std::frexp(value, &exponent);
  if (mantissa < 0.70710678118654752440) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int power = 21; power >= 1; power -= 2) sum = sum * s * s + 1.0 / power;
  return exponent * kLog10Of2 + 2 * s * sum * kLog10OfE;
}

}  // namespace kvtape
