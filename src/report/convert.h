// What a conversion did, as text and JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kvtape/transform.h"
#include "report/style.h"

namespace kvtape {

struct ConvertReport {
  std::string input;
  std::string output;
  std::string format;  // "HDF5" or "JSON"
  std::int64_t input_bytes = 0;
  std::int64_t output_bytes = 0;
  std::int64_t layers = 0;
  std::string from_dtypes;  // "f32", or "f16, f32"
  std::string to_dtypes;
  std::string select;  // as it was given
  std::string axes;
  std::string set;
  std::optional<RoundingReport> rounding;  // of --dtype
  std::int64_t digests = 0;                // of the input, that were checked
  std::vector<std::string> left_out;
};

/// "f16, 8bit of bf16": of the keys and values of a cache.
std::string dtypes_text(const Tape& tape);

/// A line, and one more for each thing to know.
std::string convert_text(const ConvertReport& report, const TextStyle& style);

/// One object, "schema": "kvtape.convert/1".
std::string convert_json(const ConvertReport& report);

}  // namespace kvtape
