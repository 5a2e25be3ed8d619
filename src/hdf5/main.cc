// kvtape-hdf5: libhdf5 in a process of its own, which can neither open a file
// nor outlive the program that asks it. Standard input: the file that it reads.
// Standard output: the socket over which it is asked and answers.
#include <unistd.h>

#include <cstdlib>

#include "hdf5/sandbox.h"
#include "hdf5/service.h"
#include "io/hdf5_messages.h"
#include "kvtape/version.h"

namespace kvtape {
namespace {

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." +
         std::to_string(release);
}

void run() {
  Hdf5Hello hello{.kvtape_version = kVersion};
  hello.limits_memory = limit_resources();
  start_hdf5();
  hello.hdf5_version = hdf5_version();
  auto input = InputFile::inherited(STDIN_FILENO);
  hello.filters_calls = filter_calls();
  Channel channel(STDOUT_FILENO);
  WireWriter out;
  put(out, hello);
  channel.send(static_cast<std::uint8_t>(Hdf5Reply::kHello), out);
  Service service(channel, std::move(input));
  while (const auto request = channel.receive(-1)) service.answer(*request);
}

}  // namespace
}  // namespace kvtape

int main() {
  kvtape::run();
  std::_Exit(0);  // what libhdf5 still holds goes with the process
}
