// Counts of numbers by their bits: one bin for each of the 65,536 patterns of
// a 16-bit format, and for wider ones of their upper 16 bits as f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace kvtape::kernels {

inline constexpr std::size_t kBins = 65536;

/// Adds `count` elements to counts [kBins]. f64 is rounded to f32 first.
void count_bits(const std::byte* data, Element element, std::int64_t count,
                std::uint32_t* counts);

/// The number of a bin; of f32 and f64, that of the bin nearest to 0.
double bin_number(std::size_t bin, Element element);

/// Sum of squares of `count` numbers, in kLanes lanes as sums of difference.h;
/// reads and ignores +0 up to whole lanes.
double sum_of_squares(const double* numbers, std::int64_t count);

/// squares[i] += numbers[i]^2.
void add_squares(const double* numbers, std::int64_t count, double* squares);

}  // namespace kvtape::kernels
