// Datasets in plain words.
#pragma once

#include <string>

#include "hdf5/handle.h"
#include "io/stored_object.h"

namespace kvtape {

/// Describes a dataset as its header does: no number is checked against the
/// file, which is for whoever believes them. Throws Error at what cannot be
/// said in these words: storage outside the file, other types and filters.
StoredDataset describe_dataset(hid_t dataset, const std::string& path);

}  // namespace kvtape
