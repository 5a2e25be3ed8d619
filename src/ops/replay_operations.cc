// Does the operations of a log, and compares with what was recorded of each.
#include "kvtape/replay_operations.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "ops/compare_tensors.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

using Status = OperationOutcome::Status;
using Comparisons = std::vector<FinalComparison>;

// ---- what is read can be read

void check_cached(const std::optional<Tensor>& tensor,
                  const std::string& object) {
  if (!tensor) return;
  const auto kinds = {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim};
  check_tensor(*tensor, object, kinds);
  if (tensor->quantized())
    check_quantized(*tensor, object);
  else
    check_floats(*tensor, object, kinds);
}

void check_row_numbers(const std::optional<Tensor>& tensor,
                       const std::string& object) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (!tensor) return;
  check_integers(*tensor, object, {});
  check_bounds(object, -kMost - 1, kMost, integers(*tensor));
}

void check_layers(const std::map<std::int64_t, LayerCache>& layers,
                  const std::string& path) {
  for (const auto& [number, layer] : layers) {
    const std::string object = fmt::format("{}/layers/{}", path, number);
    check_cached(layer.key, object + "/key");
    check_cached(layer.value, object + "/value");
    check_row_numbers(layer.index, object + "/index");
    check_row_numbers(layer.starts, object + "/starts");
  }
}

void check_mask(const std::optional<Tensor>& mask, const std::string& object) {
  if (mask)
    check_tensor(*mask, object,
                 {AxisKind::kPosition, AxisKind::kToken, AxisKind::kHead});
}

void check_new(const std::optional<Tensor>& tensor, const std::string& object) {
  if (tensor)
    check_floats(*tensor, object,
                 {AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
}

void check_arguments(const Operation& operation, const std::string& path) {
  check_new(operation.key, path + "/key");
  check_new(operation.value, path + "/value");
  check_mask(operation.attention_mask, path + "/attention_mask");
  check_mask(operation.causal_mask, path + "/causal_mask");
  if (operation.token_type_ids)
    check_integers(*operation.token_type_ids, path + "/token_type_ids",
                   {AxisKind::kToken});
  if (operation.values) check_integers(*operation.values, path + "/values", {});
  if (operation.other) check_layers(operation.other->layers, path + "/other");
}

void check_result(const OperationResult& result, const std::string& path) {
  check_cached(result.key, path + "/key");
  check_cached(result.value, path + "/value");
  check_layers(result.layers, path);
  check_mask(result.attention_mask, path + "/attention_mask");
  if (result.mask)
    check_integers(*result.mask, path + "/mask",
                   {AxisKind::kPosition, AxisKind::kToken, AxisKind::kHead});
}

// ---- comparison

using Compare = FinalComparison (*)(const std::string&, const Tensor&,
                                    const Tensor&);

void compare(const Compare& equal, const std::string& object,
             const std::optional<Tensor>& recorded,
             const std::optional<Tensor>& found, Comparisons& list) {
  if (!recorded) return;
  list.push_back(found ? equal(object, *recorded, *found)
                       : FinalComparison{.object = object,
                                         .first = "expected one, found none"});
}

void compare_flag(const std::string& object, std::optional<bool> recorded,
                  std::optional<bool> found, Comparisons& list) {
  if (!recorded) return;
  FinalComparison comparison{.object = object, .compared = 1};
  if (*recorded != found.value_or(false)) {
    comparison.differing = 1;
    comparison.first =
        fmt::format("frozen: expected {}, found {}", *recorded, !*recorded);
  }
  list.push_back(std::move(comparison));
}

void compare_layers(const std::string& path,
                    const std::map<std::int64_t, LayerCache>& recorded,
                    const Cache& cache, Comparisons& list) {
  static const LayerCache kAbsent;
  for (const auto& [number, layer] : recorded) {
    const std::string object = fmt::format("{}/layers/{}", path, number);
    const auto found = cache.layers.find(number);
    const LayerCache& other =
        found == cache.layers.end() ? kAbsent : found->second;
    compare(compare_tensors, object + "/key", layer.key, other.key, list);
    compare(compare_tensors, object + "/value", layer.value, other.value, list);
    compare(compare_integer_tensors, object + "/index", layer.index,
            other.index, list);
    compare(compare_integer_tensors, object + "/starts", layer.starts,
            other.starts, list);
    compare_flag(object, layer.frozen, other.frozen, list);
  }
}

// [batch, position], or [batch, head, token, position] of EasyDeL.
FinalComparison compare_masks(const std::string& object, const Tensor& recorded,
                              const Tensor& found) {
  return has_axis(found, AxisKind::kToken)
             ? compare_integer_tensors(object, recorded, found)
             : compare_tensors(object, recorded, found);
}

void compare_state(const std::string& path, const OperationResult& recorded,
                   const Cache& cache, Comparisons& list) {
  compare_layers(path, recorded.layers, cache, list);
  // Of any dtype: it is part of TransformerLens' state.
  compare(compare_tensors, path + "/attention_mask", recorded.attention_mask,
          cache.attention_mask, list);
}

bool all_equal(const Comparisons& list) {
  for (const FinalComparison& each : list)
    if (!each.first.empty()) return false;
  return true;
}

// ---- one operation after the other

class LogReplay {
 public:
  LogReplay(const Tape& tape, Mode mode)
      : mode_(mode), state_{.cache = tape.cache} {}

  OperationOutcome outcome(std::int64_t number, const Operation& operation) {
    OperationOutcome outcome{
        .number = number,
        .operation = operation.kind ? std::string(name(*operation.kind)) : "?",
        .layer = operation.layer};
    if (stopped_) return outcome;
    const std::string path = fmt::format("/trace/operations/{}", number);
    check_arguments(operation, path);
    if (operation.result) check_result(*operation.result, path + "/result");
    if (operation.error)
      fail(operation, outcome);
    else
      run(operation, path + "/result", outcome);
    if (operation.result && outcome.status == Status::kNotRecorded)
      finish(*operation.result, path + "/result", outcome);
    stopped_ =
        outcome.status == Status::kRefused || outcome.status == Status::kFailed;
    return outcome;
  }

  Cache take() && { return std::move(state_.cache); }

 private:
  void finish(const OperationResult& recorded, const std::string& path,
              OperationOutcome& outcome) {
    compare_state(path, recorded, state_.cache, outcome.compared);
    outcome.status =
        all_equal(outcome.compared) ? Status::kEqual : Status::kDiffers;
    if (outcome.compared.empty()) outcome.status = Status::kNotRecorded;
  }

  void run(const Operation& operation, const std::string& path,
           OperationOutcome& outcome) {
    try {
      const OperationOutput output = execute(state_, operation, mode_);
      outcome.status = Status::kNotRecorded;
      if (!operation.result) return;
      const OperationResult& recorded = *operation.result;
      auto& list = outcome.compared;
      compare(compare_tensors, path + "/key", recorded.key, output.key, list);
      compare(compare_tensors, path + "/value", recorded.value, output.value,
              list);
      compare(compare_masks, path + "/mask", recorded.mask, output.mask, list);
    } catch (const Error& error) {
      explain(operation, error, outcome);
    }
  }

  // Whether the system fails too, or goes on without a word.
  void explain(const Operation& operation, const Error& error,
               OperationOutcome& outcome) {
    outcome.message = error.what();
    outcome.status = Status::kFailed;
    if (mode_ == Mode::kFaithful) return;
    try {
      OperatedCache copy = state_;
      execute(copy, operation, Mode::kFaithful);
      outcome.status = Status::kRefused;
    } catch (const Error&) {
      return;
    }
  }

  // The record says that it failed: it has to, in the system's own way.
  void fail(const Operation& operation, OperationOutcome& outcome) {
    const Cache before = state_.cache;
    try {
      execute(state_, operation, Mode::kFaithful);
      outcome.status = Status::kNotFailed;
      outcome.message = "the record says: " + *operation.error;
      return;
    } catch (const Error& error) {
      outcome.message = error.what();
      outcome.status = Status::kNotRecorded;
    }
    const auto changed = first_difference(before, state_.cache);
    if (!changed || mode_ == Mode::kFaithful) return;
    outcome.status = Status::kRefused;
    outcome.message += "; the system changed " + *changed + " before it failed";
  }

  Mode mode_;
  OperatedCache state_;
  bool stopped_ = false;
};

bool is_broken(const OperationOutcome& outcome) {
  return outcome.status != Status::kEqual &&
         outcome.status != Status::kNotRecorded;
}

}  // namespace

bool OperationsReport::success() const {
  bool compared = !final_state.empty();
  for (const OperationOutcome& outcome : operations)
    compared = compared || outcome.status == Status::kEqual ||
               !outcome.message.empty();
  return compared && !broken && all_equal(final_state);
}

OperationsReport replay_operations(const Tape& tape,
                                   const OperationsOptions& options) {
  if (!tape.trace || tape.trace->operations.empty())
    contradiction("/trace/operations", "object", "operations", "none");
  check_layers(tape.cache.layers, "");
  if (tape.cache.attention_mask)
    check_integers(*tape.cache.attention_mask, "/attention_mask",
                   {AxisKind::kPosition});
  OperationsReport report{.mode = options.mode};
  LogReplay log(tape, options.mode);
  const OperationLog& operations = tape.trace->operations;
  for (const auto& [number, operation] : operations) {
    report.operations.push_back(log.outcome(number, operation));
    if (is_broken(report.operations.back()) && !report.broken)
      report.broken = report.operations.size() - 1;
    if (options.progress)
      options.progress(std::ssize(report.operations), std::ssize(operations));
  }
  report.cache = std::move(log).take();
  const bool stopped = report.operations.back().status == Status::kNotRun;
  if (tape.final_state && tape.trace->layers.empty() && !stopped) {
    check_layers(tape.final_state->layers, "/final");
    compare_state("/final",
                  {.layers = tape.final_state->layers,
                   .attention_mask = tape.final_state->attention_mask},
                  report.cache, report.final_state);
  }
  return report;
}

}  // namespace kvtape
