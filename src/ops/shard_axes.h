// Places of [batch, position, head, dim] along the axes of a tensor.
#pragma once

#include <string>
#include <vector>

#include "kvtape/sharding.h"

namespace kvtape {

/// One for each axis; axes of another kind are whole, and of several batch axes
/// the first is divided. Throws Error, said of `path`, where it cannot be.
std::vector<Interval> axis_places(const std::vector<Axis>& axes,
                                  const ShardPlace& place,
                                  const std::string& path);

}  // namespace kvtape
