#include "ops/diff_outputs.h"

#include <algorithm>

#include "kvtape/error.h"
#include "ops/diff_tensors.h"

namespace kvtape {
namespace {

bool has_queries(const Tape* tape) {
  return tape != nullptr && tape->trace && !tape->trace->layers.empty();
}

const Tape* queries_of(const Tape& expected, const Tape& actual,
                       const DiffOptions& options) {
  for (const Tape* tape : {options.queries, &expected, &actual})
    if (has_queries(tape)) return tape;
  return nullptr;
}

// One layer of a cache with the queries for it, and nothing to compare with.
Tape one_layer(const Tape& tape, const Trace& trace, std::int64_t number) {
  Tape result;
  result.source = tape.source;
  result.cache = tape.cache;
  std::erase_if(result.cache.layers,
                [&](const auto& layer) { return layer.first != number; });
  result.trace = trace;
  std::erase_if(result.trace->layers,
                [&](const auto& layer) { return layer.first != number; });
  result.trace->layers.at(number).output.reset();
  return result;
}

Tensor output_of(const Tape& tape, const Trace& trace, std::int64_t number,
                 int threads) {
  const ReplayReport report = replay(one_layer(tape, trace, number),
                                     {.mode = ReplayOptions::Mode::kFaithful,
                                      .keep = true,
                                      .threads = threads});
  const LayerTrace& layer = report.replayed->trace->layers.at(number);
  if (!layer.output)
    throw Error({.object = "/trace/layers/" + std::to_string(number),
                 .text = "cannot be replayed"});
  return *layer.output;
}

std::vector<RowRuns> all_tokens(const Tensor& a, const Tensor& b) {
  const auto both = [&](AxisKind kind) {
    return std::min(extent(a, kind), extent(b, kind));
  };
  std::vector<RowRuns> rows;
  for (std::int64_t row = 0; row < both(AxisKind::kBatch); ++row)
    rows.push_back({.row = row, .runs = {{.count = both(AxisKind::kToken)}}});
  return rows;
}

}  // namespace

void diff_outputs(const Tape& expected, const Tape& actual,
                  const DiffOptions& options,
                  const kernels::Allowance& allowance, DiffReport& report) {
  const Tape* queries = queries_of(expected, actual, options);
  if (queries == nullptr || report.verdict == Verdict::kIdentical) return;
  ThreadPool pool(options.threads);
  const Trace& trace = *queries->trace;
  try {
    for (const auto& [number, layer] : trace.layers) {
      if (!layer.query || !expected.cache.layers.contains(number) ||
          !actual.cache.layers.contains(number))
        continue;
      const Tensor a = output_of(expected, trace, number, options.threads);
      const Tensor b = output_of(actual, trace, number, options.threads);
      const TensorPair pair{.expected = &a,
                            .actual = &b,
                            .layer = number,
                            .kind = TensorKind::kValue,
                            .heads = {0, extent(a, AxisKind::kHead)}};
      const TensorDiff found = diff_tensors(pair, all_tokens(a, b), allowance,
                                            pool, [](std::int64_t) {});
      report.outputs.insert(report.outputs.end(), found.cells.begin(),
                            found.cells.end());
    }
  } catch (const Error& error) {
    report.outputs.clear();
    report.outputs_missing = error.what();
  }
}

}  // namespace kvtape
