// Tensors that grow along the position axis at the cost of what is added.
#pragma once

#include "kvtape/tensor.h"

namespace kvtape {

/// An empty tensor that concatenated() extends in place: these axes, slowest
/// first, with a position axis of size 0 before them.
Tensor growing_tensor(DType dtype, Axis position, std::vector<Axis> axes);

/// `past` followed by `rows` along the position (or token) axis, with position
/// as the slowest axis. Elements are converted to `dtype`.
/// Past bytes are shared, not copied, where `past` came from here, has this
/// dtype and was not extended before: n appends cost what they add. Tensors
/// made earlier keep their values.
/// Requires equal batch, head and dim extents.
Tensor concatenated(const Tensor& past, const Tensor& rows, DType dtype);

}  // namespace kvtape
