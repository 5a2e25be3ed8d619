// Dtypes as the kernels know them.
#include "systems/element.h"

#include <string>

#include "kvtape/error.h"

namespace kvtape {

kernels::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return kernels::Element::kF64;
    case DType::kF32:
      return kernels::Element::kF32;
    case DType::kF16:
      return kernels::Element::kF16;
    case DType::kBF16:
      return kernels::Element::kBF16;
    default:
      throw Error({.field = "dtype",
                   .expected = "floating point",
                   .found = std::string(name(dtype))});
  }
}

}  // namespace kvtape
