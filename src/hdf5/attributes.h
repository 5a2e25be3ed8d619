// Attributes of HDF5 objects.
#pragma once

#include <string>

#include "hdf5/handle.h"
#include "io/stored_object.h"

namespace kvtape {

/// The attributes of an object in natural order of their names. `budget`: how
/// many more bytes of attributes the file may have. Throws Error.
Attributes read_attributes(hid_t object, const std::string& path,
                           std::int64_t& budget);

void write_attribute(hid_t object, const std::string& name,
                     const AttributeValue& value);

}  // namespace kvtape
