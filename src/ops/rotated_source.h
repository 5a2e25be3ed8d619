// Keys with rotary embedding, or without it again, computed as they are read.
#pragma once

#include <memory>
#include <vector>

#include "kvtape/attention.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// The elements of `base`, [batch, position, head, dim] of this dtype, rotated
/// at max(slot - starts, 0), or back.
std::shared_ptr<const SlabSource> rotated_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    DType dtype, Rotary rotary, std::vector<std::int64_t> starts, bool back);

}  // namespace kvtape
