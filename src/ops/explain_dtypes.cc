// Causes by which bits were taken for another dtype, or numbers went through a
// smaller one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/elements.h"
#include "ops/explain_causes.h"

namespace kvtape::causes {
namespace {

using Elementwise = double (*)(double);

Predict each(Elementwise change) {
  return
      [change](Caches& caches, const Token& token, std::vector<double>& out) {
        if (!copy_vector(caches.expected_vector(token), out)) return false;
        for (double& number : out) number = change(number);
        return true;
      };
}

// ---- bits

double bf16_as_f16(double number) {
  return static_cast<double>(kernels::from_f16(kernels::to_bf16(number)));
}

double f16_as_bf16(double number) {
  return static_cast<double>(kernels::from_bf16(kernels::to_f16(number)));
}

// ---- rounding

/// A float format with so many bits of fraction.
struct Format {
  int fraction;
  int least;  // exponent of the smallest normal number
  double most;
};
constexpr Format kF32{23, -126, 0x1.fffffep127};
constexpr Format kF16{10, -14, 65504};
constexpr Format kBF16{7, -126, 0x1.fep127};
constexpr Format kE4M3{3, -6, 448};  // OCP 8-bit formats; too large: the most
constexpr Format kE5M2{2, -14, 57344};

template <Format kFormat, bool kNearest>
double through(double number) {
  if (!std::isfinite(number) || number == 0) return number;
  int exponent = 0;
  std::frexp(number, &exponent);
  const int unit = std::max(exponent - 1, kFormat.least) - kFormat.fraction;
  const double steps = std::ldexp(number, -unit);
  const double whole = kNearest ? std::nearbyint(steps) : std::trunc(steps);
  return std::clamp(std::ldexp(whole, unit), -kFormat.most, kFormat.most);
}

// One scale for a vector, by its largest number.
bool through_int8(Caches& caches, const Token& token,
                  std::vector<double>& out) {
  if (!copy_vector(caches.expected_vector(token), out)) return false;
  double most = 0;
  for (const double number : out) most = std::max(most, std::abs(number));
  const double scale = most / 127;
  if (scale == 0 || !std::isfinite(scale)) return true;
  for (double& number : out) number = std::nearbyint(number / scale) * scale;
  return true;
}

struct Conversion {
  const char* cause;
  const char* detail;
  Elementwise change;
};
constexpr auto kConversions = std::to_array<Conversion>({
    {"dtype-misread", "bits of bf16 read as f16", bf16_as_f16},
    {"dtype-misread", "bits of f16 read as bf16", f16_as_bf16},
    {"smaller-dtype", "rounded to f32", through<kF32, true>},
    {"smaller-dtype", "rounded to f16", through<kF16, true>},
    {"smaller-dtype", "rounded to bf16", through<kBF16, true>},
    {"smaller-dtype", "rounded to 8-bit e4m3", through<kE4M3, true>},
    {"smaller-dtype", "rounded to 8-bit e5m2", through<kE5M2, true>},
    {"smaller-dtype", "cut to f16", through<kF16, false>},
    {"smaller-dtype", "cut to bf16", through<kBF16, false>},
    {"smaller-dtype", "cut to 8-bit e4m3", through<kE4M3, false>},
    {"smaller-dtype", "cut to 8-bit e5m2", through<kE5M2, false>},
});

}  // namespace

void propose_dtypes(Caches&, const Samples&,
                    std::vector<Candidate>& candidates) {
  for (const Conversion& conversion : kConversions)
    candidates.push_back({.cause = conversion.cause,
                          .detail = conversion.detail,
                          .predict = each(conversion.change)});
  candidates.push_back({.cause = "smaller-dtype",
                        .detail = "through 8-bit codes, one scale a vector",
                        .predict = through_int8});
}

}  // namespace kvtape::causes
