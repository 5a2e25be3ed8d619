// The definition of widening, narrowing and scanning (kernels.h says what
// they do). AVX2 falls back to them where it has nothing faster.
#pragma once

#include "kernels/kernels.h"

namespace kvtape::kernels {

void scalar_widen(const std::byte* data, Element element, std::int64_t stride,
                  std::int64_t count, float* out);
void scalar_narrow_f32(const float* data, std::int64_t count, Element element,
                       std::byte* out);
void scalar_narrow_f64(const double* data, std::int64_t count, Element element,
                       std::byte* out);
Scan scalar_scan(const std::byte* data, Element element, std::int64_t count);

}  // namespace kvtape::kernels
