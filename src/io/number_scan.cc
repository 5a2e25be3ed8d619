// A JSON array of numbers read straight into the elements of a tensor.
#include "io/number_scan.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "io/short_decimal.h"
#include "kernels/elements.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

using kernels::store;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// What may follow a value: it is surely whole then.
bool ends_value(char c) { return c == ',' || c == ']' || is_space(c); }

// A value of more characters is refused where it does not end in one piece.
constexpr std::ptrdiff_t kMostText = 4096;

}  // namespace

// A number by JSON's grammar.
struct NumberScan::Token {
  const char* begin = nullptr;
  const char* end = nullptr;
  int digits = 0;  // significant ones: from the first to the last but zeros
  int zeros = 0;   // after them
  bool zero = true;
  bool integer = true;
};

namespace {

using Token = NumberScan::Token;

const char* skip_digits(const char* at, const char* end, Token& token) {
  for (; at != end && is_digit(*at); ++at) {
    ++token.zeros;
    if (*at == '0') continue;
    token.digits += token.zero ? 1 : token.zeros;
    token.zeros = 0;
    token.zero = false;
  }
  return at;
}

// Nothing where the text is no JSON number.
const char* scan_exponent(const char* at, const char* end, Token& token) {
  if (at == end || (*at != 'e' && *at != 'E')) return at;
  token.integer = false;
  ++at;
  if (at != end && (*at == '+' || *at == '-')) ++at;
  if (at == end || !is_digit(*at)) return nullptr;
  while (at != end && is_digit(*at)) ++at;
  return at;
}

bool scan_number(const char* at, const char* end, Token& token) {
  token.begin = at;
  if (at != end && *at == '-') ++at;
  if (at == end || !is_digit(*at)) return false;
  const bool leading_zero = *at == '0';
  const char* whole = at;
  at = skip_digits(at, end, token);
  if (leading_zero && at - whole > 1) return false;
  if (at != end && *at == '.') {
    token.integer = false;
    ++at;
    if (at == end || !is_digit(*at)) return false;
    at = skip_digits(at, end, token);
  }
  at = scan_exponent(at, end, token);
  token.end = at;
  return at != nullptr;
}

enum class Outcome : std::uint8_t { kGood, kOverflow, kUnderflow, kInexact };

template <typename T>
constexpr int kShortDigits = std::numeric_limits<T>::max_digits10;

// One rounding of the text.
template <typename T>
Outcome read_float(const Token& token, T& value) {
  const auto [end, error] = std::from_chars(token.begin, token.end, value);
  if (error == std::errc::result_out_of_range || !std::isfinite(value)) {
    // The text says which; from_chars does not.
    double wide = 0;
    if (std::from_chars(token.begin, token.end, wide).ec == std::errc())
      return std::fabs(wide) < 1 ? Outcome::kUnderflow : Outcome::kOverflow;
    const std::string_view text(token.begin, token.end);
    const bool small = text.find("e-") != text.npos ||
                       text.find("E-") != text.npos ||
                       text.substr(*token.begin == '-' ? 1 : 0, 2) == "0.";
    return small ? Outcome::kUnderflow : Outcome::kOverflow;
  }
  if (value == 0 && !token.zero) return Outcome::kUnderflow;
  return Outcome::kGood;
}

Outcome put_f64(const Token& token, std::byte* to) {
  double value = 0;
  const Outcome outcome = read_float(token, value);
  if (outcome == Outcome::kGood) store(to, value);
  return outcome;
}

// Python writes an f32 as the f64 that is equal to it.
template <typename Narrow>
Outcome put_narrow(const Token& token, int short_digits, Narrow narrow) {
  double value = 0;
  if (const Outcome outcome = read_float(token, value);
      outcome != Outcome::kGood)
    return outcome;
  const double kept = narrow(value);
  if (!std::isfinite(kept)) return Outcome::kOverflow;
  if (kept == 0 && value != 0) return Outcome::kUnderflow;
  return token.digits > short_digits && kept != value ? Outcome::kInexact
                                                      : Outcome::kGood;
}

Outcome put_f32(const Token& token, std::byte* to) {
  if (token.digits > kShortDigits<float>)
    return put_narrow(token, kShortDigits<float>, [to](double value) {
      store(to, static_cast<float>(value));
      return static_cast<double>(static_cast<float>(value));
    });
  float value = 0;
  const Outcome outcome = read_float(token, value);
  if (outcome == Outcome::kGood) store(to, value);
  return outcome;
}

Outcome put_f16(const Token& token, std::byte* to) {
  return put_narrow(token, 5, [to](double value) {
    const std::uint16_t bits = kernels::to_f16(value);
    store(to, bits);
    return static_cast<double>(kernels::from_f16(bits));
  });
}

Outcome put_bf16(const Token& token, std::byte* to) {
  return put_narrow(token, 4, [to](double value) {
    const std::uint16_t bits = kernels::to_bf16(value);
    store(to, bits);
    return static_cast<double>(kernels::from_bf16(bits));
  });
}

// False where the token is no integer of the type.
template <typename T>
bool put_integer(const Token& token, std::byte* to) {
  T value = 0;
  if (!token.integer) return false;
  if (std::is_unsigned_v<T> && *token.begin == '-') {
    store(to, value);
    return token.zero;
  }
  const auto [end, error] = std::from_chars(token.begin, token.end, value);
  store(to, value);
  return error == std::errc() && end == token.end;
}

bool put_integer(DType dtype, const Token& token, std::byte* to) {
  switch (dtype) {
    case DType::kI64:
      return put_integer<std::int64_t>(token, to);
    case DType::kI32:
      return put_integer<std::int32_t>(token, to);
    case DType::kI16:
      return put_integer<std::int16_t>(token, to);
    case DType::kI8:
      return put_integer<std::int8_t>(token, to);
    case DType::kU64:
      return put_integer<std::uint64_t>(token, to);
    case DType::kU32:
      return put_integer<std::uint32_t>(token, to);
    case DType::kU16:
      return put_integer<std::uint16_t>(token, to);
    case DType::kU8:
      return put_integer<std::uint8_t>(token, to);
    default:
      return false;
  }
}

Outcome put_float(DType dtype, const Token& token, std::byte* to) {
  switch (dtype) {
    case DType::kF64:
      return put_f64(token, to);
    case DType::kF32:
      return put_f32(token, to);
    case DType::kF16:
      return put_f16(token, to);
    default:
      return put_bf16(token, to);
  }
}

// The bits of a float by its exponent and fraction, the sign left out.
struct Format {
  std::uint64_t infinity = 0;
  std::uint64_t nan = 0;
  std::uint64_t sign = 0;
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return {0x7ffULL << 52, 0xfffULL << 51, 1ULL << 63};
    case DType::kF32:
      return {0x7f800000, 0x7fc00000, 0x80000000};
    case DType::kF16:
      return {0x7c00, 0x7e00, 0x8000};
    default:
      return {0x7f80, 0x7fc0, 0x8000};
  }
}

void store_bits(DType dtype, std::uint64_t bits, std::byte* to) {
  std::memcpy(to, &bits, static_cast<std::size_t>(bytes_per_element(dtype)));
}

// "NaN", "Infinity", "-Infinity", without their quotes.
bool put_word(DType dtype, std::string_view word, std::byte* to) {
  const Format format = format_of(dtype);
  if (word == "NaN")
    store_bits(dtype, format.nan, to);
  else if (word == "Infinity")
    store_bits(dtype, format.infinity, to);
  else if (word == "-Infinity")
    store_bits(dtype, format.infinity | format.sign, to);
  else
    return false;
  return true;
}

const char* find_end(const char* at, const char* end) {
  while (at != end && !ends_value(*at)) ++at;
  return at;
}

const char* reason(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOverflow:
      return ", which is too large for it";
    case Outcome::kUnderflow:
      return ", which would become 0";
    default:
      return ", whose digits are more than it holds";
  }
}

}  // namespace

NumberScan::NumberScan(DType dtype, std::span<std::byte> out)
    : dtype_(dtype),
      out_(out),
      count_(std::ssize(out) / bytes_per_element(dtype)) {}

NumberScan::NumberScan(DType dtype, std::int64_t count)
    : dtype_(dtype), count_(count) {}

void NumberScan::write_to(std::span<std::byte> out) {
  out_ = out;
  first_ = next_;
}

void NumberScan::refuse(std::string expected, std::string_view found,
                        std::string_view why) const {
  constexpr std::size_t kMost = 40;
  std::string text(found.substr(0, kMost));
  if (found.size() > kMost) text += "...";
  throw Error({.field = fmt::format("data[{}]", next_),
               .expected = std::move(expected),
               .found = text.append(why)});
}

void NumberScan::check_count() const {
  if (next_ == count_) return;
  throw Error({.field = "data",
               .expected = fmt::format("{} values, as the shape says", count_),
               .found = fmt::format("{}", next_)});
}

void NumberScan::read_number(const Token& token, std::byte* to) const {
  const std::string_view text(token.begin, token.end);
  if (!is_float(dtype_)) {
    if (!put_integer(dtype_, token, to))
      refuse(fmt::format("an integer of {}", name(dtype_)), text);
    return;
  }
  const Outcome outcome = put_float(dtype_, token, to);
  if (outcome != Outcome::kGood)
    refuse(fmt::format("a value of {}", name(dtype_)), text, reason(outcome));
}

// Most numbers, with their commas.
const char* NumberScan::read_short(const char* at, const char* end) {
  if (!is_float(dtype_)) return at;
  const auto [stop, count] =
      read_short_decimals({at, end}, dtype_, place(), count_ - next_);
  next_ += count;
  return stop;
}

std::byte* NumberScan::place() const {
  return out_.data() + (next_ - first_) * bytes_per_element(dtype_);
}

const char* NumberScan::read_value(const char* at, const char* end) {
  if (next_ == count_)
    throw Error(
        {.field = "data",
         .expected = fmt::format("{} values, as the shape says", count_),
         .found = "more"});
  std::byte* const to = place();
  Token token;
  if (dtype_ != DType::kBool && scan_number(at, end, token) &&
      (token.end == end || ends_value(*token.end))) {
    read_number(token, to);
    ++next_;
    return token.end;
  }
  const char* stop = find_end(at, end);
  const std::string_view text(at, stop);
  if (dtype_ == DType::kBool) {
    if (text != "true" && text != "false") refuse("true or false", text);
    *to = std::byte{text == "true"};
  } else if (*at == '"' && is_float(dtype_)) {
    if (text.size() < 2 || text.back() != '"' ||
        !put_word(dtype_, text.substr(1, text.size() - 2), to))
      refuse("a number, \"NaN\", \"Infinity\" or \"-Infinity\"", text);
  } else {
    refuse("a JSON number", text);
  }
  ++next_;
  return stop;
}

std::size_t NumberScan::feed(std::string_view text, bool final) {
  const char* at = text.data();
  const char* const end = at + text.size();
  const char* used = at;
  for (;;) {
    while (at != end && is_space(*at)) ++at;
    used = at;
    value_ = at;
    if (at == end || state_ == State::kDone) break;
    if (state_ == State::kComma) {
      if (*at == ']') {
        check_count();
        state_ = State::kDone;
        return static_cast<std::size_t>(at + 1 - text.data());
      }
      if (*at != ',') refuse("a comma or ]", {at, 1});
      ++at;
      state_ = State::kValue;
      continue;
    }
    if (state_ == State::kFirst && *at == ']') {
      state_ = State::kComma;
      continue;
    }
    if (const char* stop = read_short(at, end); stop != at) {
      at = stop;
      state_ = State::kValue;
      continue;
    }
    // Near the end of what is there, a value may go on in the next piece.
    if (!final && end - at < kMostText && find_end(at, end) == end) break;
    at = read_value(at, end);
    state_ = State::kComma;
  }
  if (final && state_ != State::kDone) refuse("a value or ]", "the end");
  return static_cast<std::size_t>(used - text.data());
}

bool set_nan_payload(DType dtype, std::string_view hex, std::byte* element) {
  const auto size = static_cast<std::size_t>(bytes_per_element(dtype));
  std::uint64_t bits = 0;
  const auto [end, error] =
      std::from_chars(hex.data(), hex.data() + hex.size(), bits, 16);
  if (hex.size() != 2 * size || error != std::errc() ||
      end != hex.data() + hex.size())
    return false;
  const Format format = format_of(dtype);
  if ((bits & ~format.sign) <= format.infinity) return false;
  store_bits(dtype, bits, element);
  return true;
}

}  // namespace kvtape
