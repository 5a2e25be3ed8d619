// Named arrays as numbers, and what penzai's nmap makes of JAX's functions.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/penzai_layers.h"

namespace kvtape::penzai {

/// Numbers of `dtype` in C order of `axes`.
struct Values {
  DType dtype = DType::kF32;
  NamedShape axes;
  std::vector<double> values;
};

Values values_of(const NamedArray& array);
NamedArray array_of(const Values& values);

std::optional<std::int64_t> size_of(const NamedShape& axes,
                                    const std::string& name);
/// The axes of `a` and those that only `b` has, which is nmap's order.
/// Throws Error with penzai's text for another size of the same axis.
NamedShape all_axes(const std::string& function, const NamedShape& a,
                    const NamedShape& b);
NamedShape without(const NamedShape& axes,
                   const std::vector<std::string>& names);
/// Product of the sizes. Throws Error when it does not fit 48 bits.
std::int64_t count_of(const NamedShape& axes);
/// "{'batch': 2, 'seq': 3}"
std::string dict_text(const NamedShape& axes);

/// The same numbers in the order of these axes; one that `values` lacks is
/// repeated. Requires that all its axes are among them.
Values ordered(const Values& values, const NamedShape& axes);

/// What JAX makes of two float dtypes.
DType promoted(DType a, DType b);
/// Rounded once to the dtype.
double rounded(double value, DType dtype);

/// function(a, b) for all elements, rounded to `dtype`.
Values combined(const std::string& name, const Values& a, const Values& b,
                DType dtype,
                const std::function<double(double, double)>& function);

/// tensordot over `names`, over all other axes of both. Sums are in double and
/// rounded once. Throws Error unless both have these axes.
Values contract(const std::vector<std::string>& names, const Values& left,
                const Values& right);

/// lax.dynamic_update_slice along `axis`, which becomes the last; the same
/// bits. Throws Error with JAX's or penzai's text where shapes or dtypes do not
/// allow it; an axis that only `update` has is added.
NamedArray dynamic_update_slice(const NamedArray& operand,
                                const NamedArray& update,
                                const std::string& axis, std::int64_t start);

}  // namespace kvtape::penzai
