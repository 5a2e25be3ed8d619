// The words of operation logs.
#include "kvtape/operations.h"

#include "core/names.h"
#include "kvtape/trace.h"

namespace kvtape {
namespace {

using Kind = OperationKind;

constexpr Words<Kind, 10> kKinds{{
    {Kind::kConcatenateToCache, "concatenate_to_cache"},
    {Kind::kConcatenate, "concatenate"},
    {Kind::kInsert, "insert"},
    {Kind::kInsertIndex, "insert_index"},
    {Kind::kInsertStarts, "insert_starts"},
    {Kind::kAppend, "append"},
    {Kind::kAppendAttentionMask, "append_attention_mask"},
    {Kind::kFreeze, "freeze"},
    {Kind::kUnfreeze, "unfreeze"},
    {Kind::kSetEndIndex, "set_end_index"},
}};

struct Argument {
  std::string_view name;
  bool given = false;
};

std::vector<Argument> needed(const Operation& operation) {
  const Argument layer{"layer", operation.layer.has_value()};
  const Argument key{"key", operation.key.has_value()};
  const Argument value{"value", operation.value.has_value()};
  const Argument slot{"slot", operation.slot.has_value()};
  if (!operation.kind) return {{"op", false}};
  switch (*operation.kind) {
    case Kind::kConcatenateToCache:
    case Kind::kConcatenate:
    case Kind::kAppend:
      return {layer, key, value};
    case Kind::kInsert:
      return {slot, {"other", operation.other.has_value()}};
    case Kind::kInsertIndex:
    case Kind::kInsertStarts:
      return {slot, {"values", operation.values.has_value()}};
    case Kind::kAppendAttentionMask:
      return {{"attention_mask", operation.attention_mask.has_value()}};
    case Kind::kSetEndIndex:
      return {{"end_index", operation.end_index.has_value()}};
    case Kind::kFreeze:
    case Kind::kUnfreeze:
      return {};
  }
  return {};
}

}  // namespace

std::string_view name(OperationKind kind) { return word_of(kKinds, kind); }

std::optional<OperationKind> operation_kind_from_name(std::string_view name) {
  return value_of(kKinds, name);
}

std::vector<std::string_view> missing_arguments(const Operation& operation) {
  std::vector<std::string_view> missing;
  for (const Argument& argument : needed(operation))
    if (!argument.given) missing.push_back(argument.name);
  return missing;
}

bool has_only_operations(const Trace& trace) {
  return !trace.operations.empty() && !trace.step_lengths &&
         trace.layers.empty();
}

}  // namespace kvtape
