// Opening a cache file.
#include "io/file_source.h"
#include "io/tape_reader.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape {
namespace {

// HDF5, but is it ours?
void check_format(const StoredObject& root) {
  for (const auto& [name, value] : root.attributes)
    if (name == "format" && value == AttributeValue(std::string("kvtape")))
      return;
  throw Error({.text = "HDF5, but not a cache file: attribute format is not "
                       "\"kvtape\"",
               .hint = "kvtape-cache(5) has recipes that write one"});
}

}  // namespace

Tape read_tape(const std::string& path) {
  const auto input = InputFile::open(path);
  const auto file = Hdf5File::open(input);
  FileSources sources(input, file);
  try {
    check_format(file->objects().front());
    return tape_of(file->objects(), sources);
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

}  // namespace kvtape
