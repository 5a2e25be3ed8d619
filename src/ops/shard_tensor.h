// The part of a tensor that lies at a place of [batch, position, head, dim].
#pragma once

#include <string>

#include "kvtape/sharding.h"

namespace kvtape {

/// Throws Error, said of `path`, where batch axes or blocks of codes cannot be
/// cut there.
Tensor cut_to(Tensor tensor, const ShardPlace& place, const std::string& path);

}  // namespace kvtape
