// Cache files: man/kvtape-cache.5 (HDF5) and man/kvtape-json.5.
#pragma once

#include <cstdint>
#include <string>

#include "kvtape/tape.h"

namespace kvtape {

/// A cache file that has been opened.
struct TapeFile {
  enum class Format { kHdf5, kJson, kJsonMetadata };
  Tape tape;
  Format format = Format::kHdf5;  // the last: a record of metadata, no cache
  std::int64_t bytes = 0;
};

/// Opens a cache file, HDF5 or JSON, or a record of metadata as EasyDeL's
/// to_json writes it; "-" is standard input. What is wrong with single objects
/// becomes Tape::findings.
/// Of HDF5 no tensor is read: tensors keep the file open and are read as they
/// are asked for (contiguous ones are mapped). HDF5 from a pipe is kept in
/// memory as a whole. JSON is read to its end; its tensors are kept in memory,
/// and from 64 MiB on in a temporary file.
/// Throws Error when it is no cache file, damaged, or of another version.
TapeFile open_tape(const std::string& path);

/// The tape alone.
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
