// Checks of /trace/operations: arguments, and the layers they are for.
#include <fmt/format.h>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

bool is_of_layer(OperationKind kind) {
  return kind == OperationKind::kConcatenateToCache ||
         kind == OperationKind::kConcatenate || kind == OperationKind::kAppend;
}

// New keys and values: as many rows and tokens as each other.
void check_block(const std::string& object, const Operation& operation,
                 Findings& findings) {
  if (!operation.key || !operation.value) return;
  const Extents key = extents_of(*operation.key);
  const Extents value = extents_of(*operation.value);
  if (key.batch == value.batch && key.position == value.position) return;
  findings.add({.rule = "E58",
                .object = object,
                .field = "value",
                .expected = fmt::format("{} rows of {} tokens, as key",
                                        key.batch, key.position),
                .found = fmt::format("{} rows of {} tokens", value.batch,
                                     value.position)});
}

void check_operation(const Cache& cache, const std::string& object,
                     const Operation& operation, Findings& findings) {
  for (const std::string_view argument : missing_arguments(operation))
    findings.add({.rule = "E58",
                  .object = object,
                  .field = std::string(argument),
                  .expected = "an argument of that name",
                  .found = "none"});
  if (operation.layer && !cache.layers.contains(*operation.layer))
    findings.add({.rule = "E58",
                  .object = object,
                  .field = "layer",
                  .expected = "a layer of the cache",
                  .found = "no " + layer_path(*operation.layer)});
  if (operation.kind && is_of_layer(*operation.kind) && !operation.error)
    check_block(object, operation, findings);
}

}  // namespace

void check_operations(const Tape& tape, Findings& findings) {
  if (!tape.trace) return;
  for (const auto& [number, operation] : tape.trace->operations)
    check_operation(tape.cache, fmt::format("/trace/operations/{}", number),
                    operation, findings);
}

}  // namespace kvtape
