// The definition of widening, narrowing and scanning (kernels.h says what
// they do). AVX2 falls back to them where it has nothing faster.
#pragma once

#include "kernels/kernels.h"

namespace kvtape::kernels {

void scalar_widen(const std::byte* data, Element element, std::int64_t stride,
                  std::int64_t count, float* out);
void scalar_widen_codes(const std::int8_t* codes, float scale, Element element,
                        std::int64_t count, float* out);

/// The scale of a slot of rows of codes.
float scale_at(const Rows& rows, std::int64_t slot);

/// Dims [first, first + count) of a slot, as floats.
void scalar_widen_row(const Rows& rows, std::int64_t slot, std::int64_t first,
                      std::int64_t count, float* out);

void scalar_narrow_f32(const float* data, std::int64_t count, Element element,
                       std::byte* out);
void scalar_narrow_f64(const double* data, std::int64_t count, Element element,
                       std::byte* out);
Scan scalar_scan(const std::byte* data, Element element, std::int64_t count);

}  // namespace kvtape::kernels
