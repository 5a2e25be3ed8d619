// The kernels' word for a dtype.
#pragma once

#include "kernels/kernels.h"
#include "kvtape/dtype.h"

namespace kvtape {

/// Throws Error unless the dtype is a float.
kernels::Element element_of(DType dtype);

}  // namespace kvtape
