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

/// Copies a slab of any float dtype to packed [position, head, dim] of
/// `dtype`: the same bits where the dtypes agree, rounded once to the nearest
/// (ties to even) where they do not. Requires float dtypes.
void copy_slab(const SlabView& from, DType dtype, std::byte* to);

/// One number, rounded once to the nearest number of the dtype (ties to even;
/// too large gives infinity), written at `to`. Requires a float dtype.
void store_number(double number, DType dtype, std::byte* to);

/// The number at `from`, exactly. Requires a float dtype.
double load_number(DType dtype, const std::byte* from);

}  // namespace kvtape
