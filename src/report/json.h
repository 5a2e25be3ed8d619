// JSON out: our own writer over nlohmann's ordered values, since its own turns
// NaN into null and throws on text that is not UTF-8.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/finding.h"
#include "kvtape/metadata.h"

namespace kvtape {

using Json = nlohmann::ordered_json;

/// A number, or "NaN", "Infinity", "-Infinity".
Json json_number(double value);

template <typename T>
Json json_optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

/// The twelve fields in EasyDeL's order and with its names.
Json metadata_json(const CacheMetadata& metadata);

Json findings_json(const std::vector<Finding>& findings);

/// The text of a value, indented by two, with a line break at its end; lists
/// and objects that hold no other stand in one line. Numbers in the shortest
/// form that reads back; hidden characters as \uNNNN; invalid bytes as U+FFFD.
std::string json_text(const Json& value);

}  // namespace kvtape
