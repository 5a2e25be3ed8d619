#include "kvtape/insert.h"

#include <fmt/format.h>

#include "kvtape/error.h"
#include "kvtape/replay_operations.h"
#include "kvtape/transform.h"
#include "ops/tensor_checks.h"
#include "systems/array.h"

namespace kvtape {
namespace {

using Status = OperationOutcome::Status;

std::int64_t rows_of(const Cache& cache) {
  for (const auto& [number, layer] : cache.layers)
    if (layer.key) return extent(*layer.key, AxisKind::kBatch);
  return 0;
}

std::string text_of(const std::optional<Tensor>& tensor) {
  if (!tensor) return "none";
  return fmt::format("{} {}", name(tensor->dtype), shape_text(*tensor));
}

std::int64_t columns(const Tensor& tensor) {
  return extent(tensor, AxisKind::kPosition);
}

// Rows of [batch, position]: both have them, or none.
void insert_rows(const std::string& object, std::optional<Tensor>& into,
                 const std::optional<Tensor>& rows, std::int64_t slot) {
  if (!into && !rows) return;
  if (!into || !rows || into->dtype != rows->dtype ||
      columns(*into) != columns(*rows))
    contradiction(object, "shape", "rows of " + text_of(into), text_of(rows),
                  "write both caches with it, or both without");
  for (const Tensor* tensor :
       std::initializer_list<const Tensor*>{&*into, &*rows})
    check_integers(*tensor, object, {AxisKind::kPosition});
  Array operand = array_of(*into);
  dynamic_update_slice(operand, array_of(*rows), slot);
  into = tensor_of(std::move(operand));
}

}  // namespace

InsertReport insert(const Tape& tape, const Tape& other, std::int64_t slot,
                    Mode mode) {
  InsertReport report{.slot = slot,
                      .rows = rows_of(other.cache),
                      .batch = rows_of(tape.cache),
                      .layers = std::ssize(tape.cache.layers),
                      .mode = mode,
                      .refused = "",
                      .tape = without_trace(tape)};
  Operation operation{.kind = OperationKind::kInsert};
  operation.slot = slot;
  operation.other = other.cache;
  Tape log = report.tape;
  log.trace.emplace().operations.emplace(0, std::move(operation));
  OperationsReport done = replay_operations(log, {.mode = mode});
  const OperationOutcome& outcome = done.operations.front();
  if (outcome.status == Status::kFailed) throw Error({.text = outcome.message});
  if (outcome.status == Status::kRefused) {
    report.refused = outcome.message;
    return report;
  }
  report.tape.cache = std::move(done.cache);
  insert_rows("/attention_mask", report.tape.cache.attention_mask,
              other.cache.attention_mask, slot);
  insert_rows("/tokens", report.tape.cache.tokens, other.cache.tokens, slot);
  return report;
}

}  // namespace kvtape
