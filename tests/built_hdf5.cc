// Tests and benchmarks use the kvtape-hdf5 of their own build folder.
#include "built_hdf5.h"

#include <cstdlib>

namespace {

const bool kIsSet = setenv("KVTAPE_LIBEXEC", KVTAPE_BUILT_HDF5, 0) == 0;

}  // namespace
