// Ends the test program with 77, Meson's "skipped", where KVTAPE_KERNEL asks
// for kernels that this CPU cannot run.
#include <cstdlib>
#include <string_view>

#include "kernels/dispatch.h"

namespace {

[[maybe_unused]] const bool kRunnable = [] {
  const char* forced = std::getenv("KVTAPE_KERNEL");
  if (forced != nullptr && std::string_view(forced) == "avx2" &&
      !kvtape::kernels::has_avx2(kvtape::kernels::native_cpu()))
    std::_Exit(77);
  return true;
}();

}  // namespace
