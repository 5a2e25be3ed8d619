#include "ops/diff_outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kvtape/error.h"
#include "ops/diff_stats.h"
#include "ops/diff_tensors.h"
#include "ops/dtype_order.h"
#include "ops/tensor_checks.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr std::array kOfTokens{AxisKind::kBatch, AxisKind::kToken,
                               AxisKind::kHead, AxisKind::kDim};

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

bool same_shape(const Tensor& a, const Tensor& b) {
  return std::all_of(kOfTokens.begin(), kOfTokens.end(), [&](AxisKind kind) {
    return extent(a, kind) == extent(b, kind);
  });
}

void add_recorded(const std::string& object, const Tensor& a, const Tensor& b,
                  const kernels::Allowance& allowance, ThreadPool& pool,
                  DiffReport& report) {
  if (!same_shape(a, b)) {
    report.not_compared.push_back(
        {object, fmt::format("shape: expected {}, found {}", shape_text(a),
                             shape_text(b))});
    return;
  }
  check_floats(a, object, {AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  check_floats(b, object, {AxisKind::kToken, AxisKind::kHead, AxisKind::kDim});
  kernels::Allowance allowed = allowance;
  allowed.ulp_of = element_of(coarser(a.dtype, b.dtype));
  const TensorPair pair{
      .expected = &a, .actual = &b, .heads = {0, extent(a, AxisKind::kHead)}};
  const TensorDiff found =
      diff_tensors(pair, all_tokens(a, b), allowed, pool, [](std::int64_t) {});
  DiffOther other{.object = object, .first = found.first};
  for (const DiffCell& cell : found.cells) add(cell.stats, other.stats);
  report.others.push_back(std::move(other));
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

void diff_trace(const Tape& expected, const Tape& actual,
                const DiffOptions& options, const kernels::Allowance& allowance,
                DiffReport& report) {
  if (!expected.trace || !actual.trace) return;
  ThreadPool pool(options.threads);
  for (const auto& [number, layer] : expected.trace->layers) {
    const auto found = actual.trace->layers.find(number);
    if (found == actual.trace->layers.end()) continue;
    const LayerTrace& other = found->second;
    const std::string where = fmt::format("/trace/layers/{}/", number);
    const auto compare = [&](const char* field, const std::optional<Tensor>& a,
                             const std::optional<Tensor>& b) {
      if (a && b) add_recorded(where + field, *a, *b, allowance, pool, report);
    };
    compare("query", layer.query, other.query);
    compare("key", layer.key, other.key);
    compare("value", layer.value, other.value);
    compare("output", layer.output, other.output);
  }
}

}  // namespace kvtape
