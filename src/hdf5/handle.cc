#include "hdf5/handle.h"

namespace kvtape {
namespace {

herr_t keep_innermost(unsigned depth, const H5E_error2_t* error, void* data) {
  if (depth == 0 && error->desc != nullptr)
    *static_cast<std::string*>(data) = error->desc;
  return 0;
}

}  // namespace

void start_hdf5() {
  H5open();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

std::string hdf5_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  if (const auto time = reason.find(": time ="); time != reason.npos)
    reason.resize(time);
  if (const auto line = reason.find('\n'); line != reason.npos)
    reason.resize(line);
  return reason.empty() ? "no reason given" : reason;
}

}  // namespace kvtape
