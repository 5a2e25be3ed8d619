// What is inside a tape, from its description alone: no tensor data is read
// but index, starts and step lengths.
#pragma once

#include <string>
#include <vector>

#include "kvtape/tape.h"
#include "report/style.h"

namespace kvtape {

struct NamedTape {
  std::string file;
  std::string file_format = "HDF5";  // or "JSON"
  std::int64_t file_bytes = 0;
  Tape tape;
};

std::string info_text(const NamedTape& tape, const TextStyle& style);

/// One object, "schema": "kvtape.info/1", with an entry per file.
std::string info_json(const std::vector<NamedTape>& tapes);

}  // namespace kvtape
