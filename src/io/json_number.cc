#include "io/json_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/elements.h"

namespace kvtape {
namespace {

using kernels::store;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes the digits at the start; how many there are.
std::size_t take_digits(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto count = static_cast<std::size_t>(end - text.begin());
  text.remove_prefix(count);
  return count;
}

// The grammar of JSON: no sign +, no needless zero, digits around a point.
bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool zero = text.starts_with('0');
  const std::size_t whole = take_digits(text);
  if (whole == 0 || (zero && whole > 1)) return false;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (take_digits(text) == 0) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
    if (take_digits(text) == 0) return false;
  }
  return text.empty();
}

// Digits of the number without leading zeros and exponent.
std::size_t significant_digits(std::string_view text) {
  const std::string_view mantissa = text.substr(0, text.find_first_of("eE"));
  const std::size_t first = mantissa.find_first_of("123456789");
  if (first == mantissa.npos) return 0;
  const std::string_view rest = mantissa.substr(first);
  return static_cast<std::size_t>(
      std::count_if(rest.begin(), rest.end(), is_digit));
}

struct FloatFormat {
  std::size_t digits;  // that tell any two numbers apart
  double (*rounded)(double value);
  void (*write)(double value, std::byte* out);
};

const FloatFormat& format_of(DType dtype) {
  static const FloatFormat kF64{
      17, [](double value) { return value; },
      [](double value, std::byte* out) { store(out, value); }};
  static const FloatFormat kF32{
      9,
      [](double value) {
        return static_cast<double>(static_cast<float>(value));
      },
      [](double value, std::byte* out) {
        store(out, static_cast<float>(value));
      }};
  static const FloatFormat kF16{
      5,
      [](double value) {
        return static_cast<double>(kernels::from_f16(kernels::to_f16(value)));
      },
      [](double value, std::byte* out) { store(out, kernels::to_f16(value)); }};
  static const FloatFormat kBF16{
      4,
      [](double value) {
        return static_cast<double>(kernels::from_bf16(kernels::to_bf16(value)));
      },
      [](double value, std::byte* out) {
        store(out, kernels::to_bf16(value));
      }};
  switch (dtype) {
    case DType::kF64:
      return kF64;
    case DType::kF16:
      return kF16;
    case DType::kBF16:
      return kBF16;
    default:
      return kF32;
  }
}

// f32 from its own text: through f64 it would be rounded twice.
double value_of(DType dtype, std::string_view word) {
  const char* end = word.data() + word.size();
  const std::size_t digits = significant_digits(word);
  double value = 0;
  float narrow = 0;
  if (dtype == DType::kF32 && digits <= format_of(dtype).digits) {
    const auto result = std::from_chars(word.data(), end, narrow);
    if (result.ec == std::errc::result_out_of_range)
      return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(narrow);
  }
  const auto result = std::from_chars(word.data(), end, value);
  if (result.ec == std::errc::result_out_of_range)
    return std::numeric_limits<double>::quiet_NaN();
  return value;
}

std::string_view parse_float(DType dtype, std::string_view word,
                             std::byte* out) {
  const FloatFormat& format = format_of(dtype);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (word == "\"NaN\"")
    return format.write(std::numeric_limits<double>::quiet_NaN(), out), "";
  if (word == "\"Infinity\"") return format.write(kInfinity, out), "";
  if (word == "\"-Infinity\"") return format.write(-kInfinity, out), "";
  if (!is_number(word))
    return "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
  const double value = value_of(dtype, word);
  const double rounded = format.rounded(value);
  const std::size_t digits = significant_digits(word);
  if (!std::isfinite(rounded) || (rounded == 0 && digits > 0))
    return "a number in the range of its dtype";
  if (digits > format.digits && rounded != value)
    return "a number that its dtype holds exactly, or in fewer digits";
  format.write(value, out);
  return "";
}

template <typename T>
std::string_view parse_integer(std::string_view word, std::byte* out) {
  T value{};
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  if (!is_number(word) || stop != end || word == "-0") return "an integer";
  if (error != std::errc()) return "an integer in the range of its dtype";
  store(out, value);
  return "";
}

std::string_view parse_bool(std::string_view word, std::byte* out) {
  if (word != "true" && word != "false") return "true or false";
  *out = std::byte{word == "true"};
  return "";
}

}  // namespace

std::string_view parse_element(DType dtype, std::string_view word,
                               std::byte* out) {
  switch (dtype) {
    case DType::kF64:
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return parse_float(dtype, word, out);
    case DType::kI64:
      return parse_integer<std::int64_t>(word, out);
    case DType::kI32:
      return parse_integer<std::int32_t>(word, out);
    case DType::kI16:
      return parse_integer<std::int16_t>(word, out);
    case DType::kI8:
      return parse_integer<std::int8_t>(word, out);
    case DType::kU64:
      return parse_integer<std::uint64_t>(word, out);
    case DType::kU32:
      return parse_integer<std::uint32_t>(word, out);
    case DType::kU16:
      return parse_integer<std::uint16_t>(word, out);
    case DType::kU8:
      return parse_integer<std::uint8_t>(word, out);
    case DType::kBool:
      return parse_bool(word, out);
  }
  return "another dtype";
}

}  // namespace kvtape
