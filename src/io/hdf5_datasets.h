// What may be a dataset of a cache file.
#pragma once

#include <string>

#include "io/hdf5_file.h"
#include "io/hdf5_handle.h"

namespace kvtape {

/// Describes a dataset after checking that it lies whole inside a file of
/// `file_bytes`. Reads no element. Throws Error.
StoredDataset describe_dataset(hid_t dataset, const std::string& path,
                               std::int64_t file_bytes);

}  // namespace kvtape
