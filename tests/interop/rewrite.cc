// Reads a cache file and writes it again: rewrite IN OUT [compress]
#include <cstdio>
#include <string_view>

#include "kvtape/error.h"
#include "kvtape/io.h"

int main(int count, char** words) {
  if (count < 3) return 2;
  try {
    const bool compress = count > 3 && std::string_view(words[3]) == "compress";
    kvtape::write_tape(kvtape::read_tape(words[1]), words[2],
                       {.force = true, .compress = compress});
  } catch (const kvtape::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
