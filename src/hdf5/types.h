// Which HDF5 types are elements of tensors, and the reverse.
#pragma once

#include <optional>
#include <string>

#include "hdf5/handle.h"
#include "kvtape/dtype.h"

namespace kvtape {

struct ElementType {
  DType dtype = DType::kF32;
  bool big_endian = false;
};

/// Nothing where the type is none of the few that a cache file may hold.
std::optional<ElementType> element_type(hid_t type);

/// What to call a type in a message: "strings", "a compound", "f32".
std::string type_text(hid_t type);

/// The little-endian file type of a dtype: bf16 is a float of 1 + 8 + 7 bits,
/// bool is h5py's enum.
Handle file_type(DType dtype);

}  // namespace kvtape
