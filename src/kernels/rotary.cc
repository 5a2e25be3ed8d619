// Rotary position embedding in double precision.
#include "kernels/rotary.h"

#include "kernels/elementary.h"

namespace kvtape::kernels {
namespace {

void rotate(const RotaryTable& table, std::int64_t at, std::int64_t step,
            std::int64_t partner, float* row) {
  const double* cosine = table.cosine.data() + at * table.pairs;
  const double* sine = table.sine.data() + at * table.pairs;
  for (std::int64_t pair = 0; pair < table.pairs; ++pair) {
    float& first = row[pair * step];
    float& second = row[pair * step + partner];
    const auto a = static_cast<double>(first);
    const auto b = static_cast<double>(second);
    first = static_cast<float>(a * cosine[pair] - b * sine[pair]);
    second = static_cast<float>(b * cosine[pair] + a * sine[pair]);
  }
}

}  // namespace

std::vector<double> inverse_frequencies(double theta, std::int64_t dims) {
  std::vector<double> result;
  const double exponent = log2(theta) / static_cast<double>(dims);
  for (std::int64_t pair = 0; pair < dims / 2; ++pair)
    result.push_back(exp2(-2.0 * static_cast<double>(pair) * exponent));
  return result;
}

RotaryTable rotary_table(std::span<const std::int64_t> positions,
                         std::span<const double> inverse_frequencies,
                         double factor) {
  RotaryTable table{.pairs = std::ssize(inverse_frequencies)};
  const std::size_t size = positions.size() * inverse_frequencies.size();
  table.cosine.reserve(size);
  table.sine.reserve(size);
  for (const std::int64_t position : positions)
    for (const double frequency : inverse_frequencies) {
      const SinCos at = sin_cos(static_cast<double>(position) * frequency);
      table.cosine.push_back(at.cosine * factor);
      table.sine.push_back(at.sine * factor);
    }
  return table;
}

void rotate_half(const RotaryTable& table, std::int64_t at, float* row) {
  rotate(table, at, 1, table.pairs, row);
}

void rotate_interleaved(const RotaryTable& table, std::int64_t at, float* row) {
  rotate(table, at, 2, 1, row);
}

}  // namespace kvtape::kernels
