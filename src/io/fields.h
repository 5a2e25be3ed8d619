// Attributes of an object as fields of the model: a wrong type is a finding,
// None is an absent value.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tree.h"
#include "kvtape/finding.h"

namespace kvtape {

/// Reads fields of one object, which may be absent: then all fields are.
class Fields {
 public:
  Fields(Node* node, std::vector<Finding>& findings)
      : node_(node), findings_(findings) {}

  std::optional<std::int64_t> integer(std::string_view name) const;
  std::optional<bool> flag(std::string_view name) const;  // or 0, or 1
  std::optional<double> number(std::string_view name) const;
  std::optional<std::string> text(std::string_view name) const;
  std::optional<std::vector<std::int64_t>> integers(
      std::string_view name) const;

  /// One of the words that `from_name` knows; `words` lists them.
  template <typename Enum>
  std::optional<Enum> word(
      std::string_view name, std::string_view words,
      std::optional<Enum> (*from_name)(std::string_view)) const {
    const auto value = text(name);
    if (!value) return {};
    const auto result = from_name(*value);
    if (!result) refuse(name, words, "\"" + *value + "\"");
    return result;
  }

  /// Adds finding E02, and leaves the attribute to the extras.
  void refuse(std::string_view name, std::string_view expected,
              std::string found) const;

 private:
  const AttributeValue& value(std::string_view name) const;
  template <typename T, typename Convert>
  std::optional<T> converted(std::string_view name, std::string_view expected,
                             const Convert& convert) const;

  Node* node_;
  std::vector<Finding>& findings_;
};

/// "the text "4"", "a list of 3 integers", ...
std::string value_text(const AttributeValue& value);

}  // namespace kvtape
