#include "io/fields.h"

#include <fmt/format.h>

#include <limits>

namespace kvtape {
namespace {

using Integers = std::vector<std::int64_t>;

std::optional<std::int64_t> as_integer(const AttributeValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  const auto* number = std::get_if<std::uint64_t>(&value);
  if (number == nullptr || *number > std::numeric_limits<std::int64_t>::max())
    return {};
  return static_cast<std::int64_t>(*number);
}

std::optional<bool> as_flag(const AttributeValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag;
  const auto number = as_integer(value);
  if (!number || (*number != 0 && *number != 1)) return {};
  return *number == 1;
}

std::optional<double> as_number(const AttributeValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  const auto number = as_integer(value);
  if (!number) return {};
  return static_cast<double>(*number);
}

std::optional<std::string> as_text(const AttributeValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return {};
}

std::optional<Integers> as_integers(const AttributeValue& value) {
  if (const auto* list = std::get_if<Integers>(&value)) return *list;
  if (const auto number = as_integer(value)) return Integers{*number};
  return {};
}

struct Describe {
  std::string operator()(NoValue) const { return "None"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string& text) const {
    return "\"" + text + "\"";
  }
  std::string operator()(const Integers& list) const {
    return fmt::format("a list of {}", list.size());
  }
  template <typename Number>
  std::string operator()(Number number) const {
    return fmt::format("{}", number);
  }
};

}  // namespace

std::string value_text(const AttributeValue& value) {
  return std::visit(Describe(), value);
}

const AttributeValue& Fields::value(std::string_view name) const {
  static const AttributeValue kNone;
  return node_ == nullptr ? kNone : node_->attribute(name);
}

void Fields::refuse(std::string_view name, std::string_view expected,
                    std::string found) const {
  findings_.push_back({.rule = "E02",
                       .object = node_->path(),
                       .field = std::string(name),
                       .expected = std::string(expected),
                       .found = std::move(found),
                       .fix = fmt::format("write {} as {}", name, expected)});
}

template <typename T, typename Convert>
std::optional<T> Fields::converted(std::string_view name,
                                   std::string_view expected,
                                   const Convert& convert) const {
  if (node_ == nullptr) return {};
  const AttributeValue& given = value(name);
  if (std::holds_alternative<NoValue>(given)) {
    node_->understand(name);
    return {};
  }
  std::optional<T> result = convert(given);
  if (result)
    node_->understand(name);
  else
    refuse(name, expected, value_text(given));
  return result;
}

std::optional<std::int64_t> Fields::integer(std::string_view name) const {
  return converted<std::int64_t>(name, "an integer", as_integer);
}
std::optional<bool> Fields::flag(std::string_view name) const {
  return converted<bool>(name, "0 or 1, or a bool", as_flag);
}
std::optional<double> Fields::number(std::string_view name) const {
  return converted<double>(name, "a number", as_number);
}
std::optional<std::string> Fields::text(std::string_view name) const {
  return converted<std::string>(name, "text", as_text);
}
std::optional<std::vector<std::int64_t>> Fields::integers(
    std::string_view name) const {
  return converted<Integers>(name, "integers", as_integers);
}

}  // namespace kvtape
