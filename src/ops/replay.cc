// Replays all traced layers of a tape and sums up.
#include "kvtape/replay.h"

#include <algorithm>
#include <cmath>

#include "ops/dtype_order.h"
#include "ops/final_state.h"
#include "ops/growth.h"
#include "ops/replay_layer.h"
#include "ops/tensor_checks.h"

namespace kvtape {
namespace {

DType coarsest(const std::vector<ReplayProblem>& problems) {
  DType dtype = DType::kF64;
  for (const ReplayProblem& p : problems) {
    coarsen(dtype, p.cache->key);
    coarsen(dtype, p.cache->value);
    coarsen(dtype, p.layer->output);
  }
  return dtype;
}

Tolerance tolerance_of(const ReplayOptions& options, DType dtype) {
  if (!options.rtol && !options.atol) return default_tolerance(dtype);
  return {.rtol = options.rtol.value_or(0), .atol = options.atol.value_or(0)};
}

// ---- what is there to replay

void note_layers_without_trace(const Tape& tape, ReplayReport& report) {
  for (const auto& [number, layer] : tape.cache.layers)
    if (!tape.trace->layers.contains(number))
      report.not_compared.push_back("/layers/" + std::to_string(number) +
                                    ": no trace");
}

std::vector<ReplayProblem> problems_of(const Tape& tape, ReplayReport& report) {
  if (!tape.trace || tape.trace->layers.empty())
    contradiction("/trace", "layers", "a recorded decode", "none",
                  "replay needs the queries and outputs of a decode");
  std::vector<ReplayProblem> problems;
  for (const auto& [number, layer] : tape.trace->layers) {
    if (auto missing = missing_for_replay(tape, number)) {
      report.not_compared.push_back(std::move(*missing));
      continue;
    }
    problems.push_back(replay_problem(tape, number));
    if (!layer.output)
      report.not_compared.push_back("/trace/layers/" + std::to_string(number) +
                                    "/output: missing");
  }
  note_layers_without_trace(tape, report);
  return problems;
}

std::int64_t sum(const std::vector<std::int64_t>& lengths, std::int64_t first,
                 std::int64_t last) {
  std::int64_t result = 0;
  for (std::int64_t step = first; step < last; ++step)
    result += lengths[static_cast<std::size_t>(step)];
  return result;
}

void set_range(const ReplayOptions& options,
               const std::vector<std::int64_t>& lengths, ReplayRun& run) {
  const auto steps = static_cast<std::int64_t>(lengths.size());
  run.last_step =
      std::clamp<std::int64_t>(options.last_step.value_or(steps), 0, steps);
  run.first_step =
      std::clamp<std::int64_t>(options.first_step, 0, run.last_step);
}

void set_totals(const ReplayRun& run, const std::vector<std::int64_t>& lengths,
                const std::vector<ReplayProblem>& problems,
                ReplayReport& report) {
  report.steps = run.last_step - run.first_step;
  report.tokens = sum(lengths, run.first_step, run.last_step);
  for (std::int64_t step = run.first_step; step < run.last_step; ++step)
    report.by_step.push_back({.number = step});
  for (const ReplayProblem& p : problems) {
    report.rows = std::max(report.rows, p.rows);
    report.query_heads = std::max(report.query_heads, p.attention.query_heads);
  }
}

// ---- layers

std::int64_t work(const std::vector<ReplayProblem>& problems) {
  std::int64_t tokens = 0;
  for (const ReplayProblem& p : problems) tokens += p.rows * p.tokens;
  return tokens;
}

void replay_layers(const std::vector<ReplayProblem>& problems, ReplayRun& run) {
  ReplayReport& report = *run.report;
  for (const ReplayProblem& p : problems) {
    if (run.options->fail_fast && report.out_of_tolerance > 0) {
      report.not_compared.push_back("/trace/layers/" +
                                    std::to_string(p.number) +
                                    ": not replayed after a failed layer");
      continue;
    }
    report.by_layer.push_back({.number = p.number});
    report.errors.emplace_back(report.by_step.size(), 0.0);
    ++report.layers;
    replay_layer(run, p, report.by_layer.size() - 1);
  }
}

std::vector<double> step_errors(const ReplayReport& report) {
  std::vector<double> errors;
  for (const ReplayRow& row : report.by_step)
    errors.push_back(row.worst.abs_error);
  return errors;
}

}  // namespace

Tolerance default_tolerance(DType dtype) {
  const double rtol = dtype == DType::kF16    ? 1e-3
                      : dtype == DType::kBF16 ? 1.6e-2
                                              : 1.3e-6;
  return {.rtol = rtol, .atol = 1e-5};
}

bool ReplayReport::success() const {
  for (const FinalComparison& final_comparison : final_state)
    if (!final_comparison.first.empty()) return false;
  return compared > 0 && out_of_tolerance == 0 && not_compared.empty() &&
         findings.empty();
}

ReplayReport replay(const Tape& tape, const ReplayOptions& options) {
  ReplayReport report;
  const std::vector<ReplayProblem> problems = problems_of(tape, report);
  const std::vector<std::int64_t> lengths = replay_steps(*tape.trace);
  ThreadPool pool(options.threads);
  ReplayRun run{.tape = &tape,
                .options = &options,
                .kernels = &kernels::active(),
                .pool = &pool,
                .report = &report,
                .total = work(problems)};
  set_range(options, lengths, run);
  set_totals(run, lengths, problems, report);
  report.mode = options.mode;
  report.cache_dtype = coarsest(problems);
  report.tolerance = tolerance_of(options, report.cache_dtype);
  report.kernel = run.kernels->name;
  if (options.keep) {
    report.replayed = tape;
    report.replayed->final_state.reset();
  }
  replay_layers(problems, run);
  if (const auto mask = compare_final_mask(tape))
    report.final_state.push_back(*mask);
  report.doubling_steps = doubling_steps(step_errors(report));
  return report;
}

}  // namespace kvtape
