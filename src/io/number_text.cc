// Elements of tensors as JSON numbers.
#include "io/number_text.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "io/float_text.h"
#include "kernels/elements.h"

namespace kvtape {
namespace {

using kernels::load;

constexpr std::size_t kMostText = kFloatTextRoom;  // and a comma
// From this many 16-bit elements on, all their texts are worth a table.
constexpr std::size_t kTableElements = 32768;

char* put(char* to, std::string_view text) {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

char* put_finite(char* to, double value) {
  return std::to_chars(to, to + kMostText, value).ptr;
}
char* put_finite(char* to, float value) { return put_float_text(to, value); }

template <typename T>
char* put_float(char* to, T value) {
  if (value == 0) return put(to, std::signbit(value) ? "-0.0" : "0");
  if (std::isfinite(value)) return put_finite(to, value);
  if (std::isnan(value)) return put(to, "\"NaN\"");
  return put(to, value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
}

// A 16-bit format: exact widening, and one rounding from f64.
struct F16 {
  static double widen(std::uint16_t bits) {
    return static_cast<double>(kernels::from_f16(bits));
  }
  static std::uint16_t narrow(double value) { return kernels::to_f16(value); }
};
struct BF16 {
  static double widen(std::uint16_t bits) {
    return static_cast<double>(kernels::from_bf16(bits));
  }
  static std::uint16_t narrow(double value) { return kernels::to_bf16(value); }
};

// m * 10^exponent, rounded once.
double decimal(std::int64_t m, int exponent) {
  const std::string text = fmt::format("{}e{}", m, exponent);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The decimal of `digits` digits that gives `bits` again and is nearest to
// the value, if there is one.
template <typename Half>
std::optional<double> rounded_to(std::uint16_t bits, int digits) {
  const double value = Half::widen(bits);
  std::array<char, kMostText> text{};
  const char* end = std::to_chars(text.begin(), text.end(), std::fabs(value),
                                  std::chars_format::scientific, digits - 1)
                        .ptr;
  const std::string_view all(text.begin(), end);
  const std::size_t e = all.find('e');
  std::string mantissa(all.substr(0, e));
  std::erase(mantissa, '.');
  std::int64_t m = 0;
  std::from_chars(mantissa.data(), mantissa.data() + mantissa.size(), m);
  int exponent = 0;
  const char* sign = all.data() + e + 1;
  std::from_chars(*sign == '+' ? sign + 1 : sign, end, exponent);
  for (const int step : {0, -1, 1}) {
    const double near =
        std::copysign(decimal(m + step, exponent - digits + 1), value);
    if (Half::narrow(near) == bits) return near;
  }
  return {};
}

template <typename Half>
char* put_half(char* to, std::uint16_t bits) {
  const double value = Half::widen(bits);
  if (value == 0 || !std::isfinite(value)) return put_float(to, value);
  for (int digits = 1;; ++digits)
    if (const auto near = rounded_to<Half>(bits, digits))
      return put_float(to, *near);
}

// The texts of all values of a 16-bit format, a comma after each.
class HalfTexts {
 public:
  template <typename Half>
  static std::unique_ptr<HalfTexts> of() {
    auto texts = std::make_unique<HalfTexts>();
    std::array<char, 2 * kMostText> buffer{};
    for (std::uint32_t bits = 0; bits < texts->texts_.size(); ++bits) {
      Text& text = texts->texts_[bits];
      char* end =
          put_half<Half>(buffer.data(), static_cast<std::uint16_t>(bits));
      *end++ = ',';
      text.size = static_cast<std::uint8_t>(end - buffer.data());
      std::memcpy(text.text.data(), buffer.data(), text.text.size());
    }
    return texts;
  }

  char* put(char* to, std::uint16_t bits) const {
    const Text& text = texts_[bits];
    std::memcpy(to, text.text.data(), text.text.size());
    return to + text.size;
  }

 private:
  struct Text {
    std::array<char, 15> text;  // "-Infinity", with quotes and comma: 12
    std::uint8_t size;
  };
  std::array<Text, 65536> texts_;
};

// Appends what put(to, element) writes for each element, a comma after each
// but the last. put() may or may not write the comma itself.
template <typename T, bool kComma, typename Put>
void append_each(std::span<const std::byte> elements, std::string& out,
                 Put put) {
  constexpr std::size_t kAtOnce = 512;  // stay in L1
  std::array<char, kAtOnce * kMostText> texts;
  const std::size_t count = elements.size() / sizeof(T);
  for (std::size_t first = 0; first < count; first += kAtOnce) {
    const std::size_t last = std::min(first + kAtOnce, count);
    char* to = texts.data();
    for (std::size_t i = first; i < last; ++i) {
      to = put(to, load<T>(elements.data() + i * sizeof(T)));
      if constexpr (kComma) *to++ = ',';
    }
    out.append(texts.data(), to);
  }
  if (count > 0) out.pop_back();
}

template <typename Half>
const HalfTexts& texts_of() {
  static const std::unique_ptr<const HalfTexts> texts = HalfTexts::of<Half>();
  return *texts;
}

template <typename Half>
void append_halves(std::span<const std::byte> elements, std::string& out) {
  if (elements.size() / 2 < kTableElements)
    return append_each<std::uint16_t, true>(elements, out, put_half<Half>);
  append_each<std::uint16_t, false>(
      elements, out, [&texts = texts_of<Half>()](char* to, std::uint16_t bits) {
        return texts.put(to, bits);
      });
}

template <typename T>
void append_integers(std::span<const std::byte> elements, std::string& out) {
  append_each<T, true>(elements, out, [](char* to, T value) {
    return std::to_chars(to, to + kMostText, value).ptr;
  });
}

}  // namespace

void append_numbers(DType dtype, std::span<const std::byte> elements,
                    std::string& out) {
  switch (dtype) {
    case DType::kF64:
      return append_each<double, true>(elements, out, put_float<double>);
    case DType::kF32:
      return append_each<float, true>(elements, out, put_float<float>);
    case DType::kF16:
      return append_halves<F16>(elements, out);
    case DType::kBF16:
      return append_halves<BF16>(elements, out);
    case DType::kI64:
      return append_integers<std::int64_t>(elements, out);
    case DType::kI32:
      return append_integers<std::int32_t>(elements, out);
    case DType::kI16:
      return append_integers<std::int16_t>(elements, out);
    case DType::kI8:
      return append_integers<std::int8_t>(elements, out);
    case DType::kU64:
      return append_integers<std::uint64_t>(elements, out);
    case DType::kU32:
      return append_integers<std::uint32_t>(elements, out);
    case DType::kU16:
      return append_integers<std::uint16_t>(elements, out);
    case DType::kU8:
      return append_integers<std::uint8_t>(elements, out);
    case DType::kBool:
      return append_each<std::uint8_t, true>(
          elements, out, [](char* to, std::uint8_t value) {
            return put(to, value != 0 ? "true" : "false");
          });
  }
}

namespace {

// All bits but the sign that are above these are a NaN.
template <typename Bits>
struct NanBits {
  Bits infinity;
  Bits usual;  // the NaN that the text "NaN" gives
};

template <typename Bits>
std::size_t first_payload(std::span<const std::byte> elements,
                          std::size_t first, NanBits<Bits> nan) {
  const std::size_t count = elements.size() / sizeof(Bits);
  for (; first < count; ++first) {
    const auto bits = load<Bits>(elements.data() + first * sizeof(Bits));
    const auto magnitude = static_cast<Bits>(bits << 1);
    if (magnitude > static_cast<Bits>(nan.infinity << 1) && bits != nan.usual)
      break;
  }
  return first;
}

}  // namespace

std::size_t next_nan_payload(DType dtype, std::span<const std::byte> elements,
                             std::size_t first) {
  switch (dtype) {
    case DType::kF64:
      return first_payload<std::uint64_t>(elements, first,
                                          {0x7ffULL << 52, 0x7ff8ULL << 48});
    case DType::kF32:
      return first_payload<std::uint32_t>(elements, first,
                                          {0x7f800000, 0x7fc00000});
    case DType::kF16:
      return first_payload<std::uint16_t>(elements, first, {0x7c00, 0x7e00});
    case DType::kBF16:
      return first_payload<std::uint16_t>(elements, first, {0x7f80, 0x7fc0});
    default:
      return elements.size() /
             static_cast<std::size_t>(bytes_per_element(dtype));
  }
}

}  // namespace kvtape
