// Cache files: man/kvtape-cache.5 (HDF5) and man/kvtape-json.5.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

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
  /// Of deflate, to 9; higher ones gain 1 % on floats, at 3 x the time.
  int level = 1;
  int threads = 0;  // 0 = one per core; the file is the same for any number
  /// Told how many bytes of tensors have been read, and of how many.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// Reads every tensor whose digest its file recorded, and returns how many
/// these are. Throws Error where elements are not those that were written.
/// `threads`: 0 = one per core.
std::int64_t check_digests(const Tape& tape, int threads = 0);

/// What check_digests() would refuse, each as a finding (E07, E08). `threads`:
/// 0 = one per core.
std::vector<Finding> digest_findings(const Tape& tape, int threads = 0);

/// Throws Error where the file was edited after it was written: Tape::edited.
void check_edited(const Tape& tape);

/// How many check_digests() would read.
std::int64_t count_digests(const Tape& tape);

/// Writes format version 1. The file appears whole under its name or not at
/// all. Throws Error when it exists (without force), is the file that the
/// tensors come from, or cannot be written; or where tensors that are written
/// as they were read have not the digests that their file recorded.
void write_tape(const Tape& tape, const std::string& path,
                const WriteOptions& options = {});

/// The same for what takes bytes in order, like a pipe. HDF5 is not written in
/// order: it is kept in a temporary file first.
void write_tape(const Tape& tape,
                const std::function<void(std::string_view)>& sink,
                const WriteOptions& options = {});

}  // namespace kvtape
