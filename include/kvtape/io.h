// Cache files: man/kvtape-cache.5.
#pragma once

#include <string>

#include "kvtape/tape.h"

namespace kvtape {

/// Opens a cache file. Reads its structure, attributes and no tensor; tensors
/// keep the file open and are read as they are asked for (contiguous ones are
/// mapped). What is wrong with single objects becomes Tape::findings.
/// Throws Error when it is no cache file, damaged, or of another version.
Tape read_tape(const std::string& path);

struct WriteOptions {
  bool force = false;     // replace an existing file
  bool compress = false;  // chunked, shuffled, deflated, fletcher32
};

/// Writes format version 1. The file appears whole under its name or not at
/// all. Throws Error when it exists (without force), is the file that the
/// tensors come from, or cannot be written.
void write_tape(const Tape& tape, const std::string& path,
                const WriteOptions& options = {});

}  // namespace kvtape
