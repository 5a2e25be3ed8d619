// Copies of slabs: cut, packed, rounded to a dtype.
#pragma once

#include <cstdint>

#include "core/slab.h"

namespace kvtape {

/// Positions [first, first + count) of a slab.
SlabView cut(const SlabView& slab, std::int64_t first, std::int64_t count);

/// A view of packed [position, head, dim].
SlabView packed_slab(const std::byte* data, DType dtype,
                     const std::array<std::int64_t, 3>& shape);

/// Copies a slab to packed [position, head, dim] of `dtype`: the same bits
/// where the dtypes agree, else converted as by load_number and store_number.
void copy_slab(const SlabView& from, DType dtype, std::byte* to);

/// One number, rounded once to the nearest number of the dtype (ties to even;
/// too large gives infinity), written at `to`. Requires that an integer dtype
/// holds it.
void store_number(double number, DType dtype, std::byte* to);

/// The number at `from`, exactly but for integers beyond 2^53.
double load_number(DType dtype, const std::byte* from);

}  // namespace kvtape
