#include "io/unnamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "kvtape/error.h"

namespace kvtape {

int open_unnamed_file(const std::string& what) {
  const char* wished = std::getenv("TMPDIR");
  const std::string folder =
      wished == nullptr || *wished == '\0' ? "/var/tmp" : wished;
  int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return descriptor;
  std::string name = folder + "/kvtape.XXXXXX";
  descriptor = mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0)
    throw Error({.text = "no temporary file can be made in " + folder + ": " +
                         std::generic_category().message(errno),
                 .hint = what + " is kept in a temporary file; name a folder "
                                "with room: TMPDIR=FOLDER kvtape ..."});
  ::unlink(name.c_str());
  return descriptor;
}

}  // namespace kvtape
