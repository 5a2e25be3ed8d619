// Records, caches and reports as dicts and as JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kvtape/cache.h"
#include "kvtape/easydel.h"
#include "kvtape/json.h"
#include "kvtape/replay.h"
#include "kvtape/tape.h"
#include "kvtape/trace.h"
#include "kvtape/validate.h"

namespace kvtape {

/// Keys keep the order in which they were written. <nlohmann/json.hpp> has it
/// in full.
using Dict = nlohmann::ordered_json;

/// EasyDeL's record: its twelve fields in its order, None is null.
Dict to_dict(const CacheMetadata& metadata);
/// What was said; the names are those of the attributes in kvtape-cache(5).
Dict to_dict(const AttentionSpec& spec);
Dict to_dict(const RotarySpec& spec);
/// Parts of the document of kvtape-json(5). For caches that fit in memory;
/// write_json() streams others. Throws Error when tensors cannot be read.
Dict to_dict(const LayerCache& layer, Encoding encoding = Encoding::kNumbers);
Dict to_dict(const Cache& cache, Encoding encoding = Encoding::kNumbers);
Dict to_dict(const Trace& trace, Encoding encoding = Encoding::kNumbers);
Dict to_dict(const Tape& tape, Encoding encoding = Encoding::kNumbers);
/// EasyDeL's classes, with its keys in its order; None is null. Where EasyDeL
/// prints an array as text stands the tensor of kvtape-json(5), in full.
Dict to_dict(const easydel::TransformerMetadata& metadata);
Dict to_dict(const easydel::TransformerCacheView& view,
             Encoding encoding = Encoding::kNumbers);
Dict to_dict(const easydel::TransformerCache& cache,
             Encoding encoding = Encoding::kNumbers);
/// What the commands print with --json, said of `file`.
Dict to_dict(const ValidationReport& report, const std::string& file);
Dict to_dict(const ReplayReport& report, const std::string& file);

enum class Keys : std::uint8_t {
  kStrict,   // unknown keys, wrong types and contradicting shapes are errors
  kEasyDel,  // unknown keys are ignored, as EasyDeL's from_dict does
};

/// The inverse of to_dict, for each type that it takes but reports:
/// `from_dict<Cache>(dict)`. Arrays that EasyDeL printed as text are refused.
/// Throws Error that names the path, "/layers/0/key: shape".
template <typename T>
T from_dict(const Dict& dict, Keys keys = Keys::kStrict);

/// The arguments of Python's json.dumps.
struct JsonStyle {
  std::optional<int> indent;
  std::optional<std::string> item_separator;  // ", ", with indent ","
  std::string key_separator = ": ";
  bool sort_keys = false;
};

/// The text that Python's json.dumps gives, byte for byte: ASCII alone, floats
/// as Python prints them. Texts that are not UTF-8 get U+FFFD.
std::string to_json(const Dict& dict, const JsonStyle& style = {});

/// Throws Error for what is no JSON, says a key twice, nests deeper than 64
/// levels or has a number that no f64 holds.
Dict parse_json(const std::string& text);

template <typename T>
std::string to_json(const T& value, const JsonStyle& style = {}) {
  return to_json(to_dict(value), style);
}

template <typename T>
T from_json(const std::string& text, Keys keys = Keys::kStrict) {
  return from_dict<T>(parse_json(text), keys);
}

}  // namespace kvtape
