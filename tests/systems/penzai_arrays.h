// Named arrays for tests of penzai.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvtape/penzai.h"

namespace kvtape::penzai::test {

/// A recorded {array, axes}, or an array alone whose axes are given.
NamedArray recorded(const nlohmann::json& array);
NamedArray recorded(const nlohmann::json& array,
                    const std::vector<std::string>& axes);

/// Each value rounded to the dtype.
NamedArray filled(const NamedShape& axes, const std::vector<double>& values,
                  DType dtype = DType::kF32);

/// Values in [-1, 1), the same for the same seed.
NamedArray random(const NamedShape& axes, unsigned seed,
                  DType dtype = DType::kF32);

std::vector<std::string> names(const NamedShape& axes);
std::size_t count(const NamedShape& axes);

/// Positions [first, first + count) of an axis.
NamedArray cut(const NamedArray& array, const std::string& axis,
               std::int64_t first, std::int64_t count);

/// Equal dtype, axes by name, and numbers (NaN equal to NaN).
bool same(const NamedArray& a, const NamedArray& b);

/// Largest |a - b| - rtol |b| where b is finite; infinite where only one is
/// finite or NaN.
double excess(const NamedArray& a, const NamedArray& b, double rtol);

}  // namespace kvtape::penzai::test
