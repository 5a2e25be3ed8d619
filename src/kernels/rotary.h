// Rotary position embedding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kvtape::kernels {

/// theta^(-2i/dims) for i < dims/2.
std::vector<double> inverse_frequencies(double theta, std::int64_t dims);

/// Cosines and sines of position * inverse frequency, times a factor, for a
/// list of positions. Angles, functions and products are in double: where a
/// system computes the angle in float, it differs from us by its own rounding.
struct RotaryTable {
  std::int64_t pairs = 0;
  std::vector<double> cosine;  // [position, pair]
  std::vector<double> sine;    // [position, pair]
};
RotaryTable rotary_table(std::span<const std::int64_t> positions,
                         std::span<const double> inverse_frequencies,
                         double factor = 1);

/// Rotates the first 2 * pairs dims of a row by row `at` of the table, each
/// result rounded once to float; dim i goes with dim i + pairs.
void rotate_half(const RotaryTable& table, std::int64_t at, float* row);

/// The same where dim 2i goes with dim 2i + 1.
void rotate_interleaved(const RotaryTable& table, std::int64_t at, float* row);

}  // namespace kvtape::kernels
