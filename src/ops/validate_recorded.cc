// Checks of the numbers in the trace and in the final state.
#include <fmt/format.h>

#include <algorithm>

#include "ops/validate_checks.h"
#include "ops/validate_tally.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

struct Recorded {
  std::string path;
  const Tensor* tensor = nullptr;
};

/// A range of tokens, or of positions, of one row.
struct Range {
  const Recorded* recorded = nullptr;
  std::int64_t row = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
  Spot bad;  // NaN and infinite elements
};

void append(std::string path, const std::optional<Tensor>& tensor,
            std::vector<Recorded>& list) {
  if (tensor && is_float(tensor->dtype) && !tensor->quantized())
    list.push_back({std::move(path), &*tensor});
}

std::vector<Recorded> recorded_tensors(const Tape& tape) {
  std::vector<Recorded> list;
  if (tape.trace)
    for (const auto& [number, layer] : tape.trace->layers) {
      const std::string path = "/trace" + layer_path(number);
      append(path + "/query", layer.query, list);
      append(path + "/key", layer.key, list);
      append(path + "/value", layer.value, list);
      append(path + "/output", layer.output, list);
    }
  if (tape.final_state)
    for (const auto& [number, layer] : tape.final_state->layers) {
      const std::string path = "/final" + layer_path(number);
      append(path + "/key", layer.key, list);
      append(path + "/value", layer.value, list);
    }
  return list;
}

std::vector<Range> ranges_of(const std::vector<Recorded>& list) {
  std::vector<Range> ranges;
  for (const Recorded& recorded : list) {
    const Extents has = extents_of(*recorded.tensor);
    if (has.heads * has.dims <= 0) continue;
    const std::int64_t step = positions_per_load(*recorded.tensor);
    for (std::int64_t row = 0; row < has.batch; ++row)
      for (std::int64_t first = 0; first < has.position; first += step)
        ranges.push_back({.recorded = &recorded,
                          .row = row,
                          .first = first,
                          .count = std::min(step, has.position - first)});
  }
  return ranges;
}

void scan(Range& range, SlotScanner& scanner) {
  scanner.load(*range.recorded->tensor, range.row, range.first, range.count);
  for (std::int64_t i = 0; i < range.count; ++i) {
    const kernels::Scan found = scanner.slot(i);
    range.bad.add(range.row, range.first + i, found.nan + found.inf);
  }
}

void report(const Recorded& recorded, const Spot& bad, Findings& findings) {
  if (bad.count == 0) return;
  const bool token = has_axis(*recorded.tensor, AxisKind::kToken);
  findings.add({.rule = "E77",
                .object = recorded.path,
                .field = "values",
                .expected = "finite numbers",
                .found = fmt::format("{} NaN or infinite, first in row {} {} "
                                     "{}",
                                     bad.count, bad.row,
                                     token ? "token" : "position", bad.at)});
}

}  // namespace

void check_recorded_values(const Tape& tape, ThreadPool& pool,
                           Findings& findings) {
  const std::vector<Recorded> list = recorded_tensors(tape);
  std::vector<Range> ranges = ranges_of(list);
  std::vector<SlotScanner> scanners(static_cast<std::size_t>(pool.size()));
  pool.run(static_cast<std::int64_t>(ranges.size()),
           [&](std::int64_t task, int worker) {
             scan(ranges[static_cast<std::size_t>(task)],
                  scanners[static_cast<std::size_t>(worker)]);
           });
  for (std::size_t i = 0; i < ranges.size();) {
    const Recorded& recorded = *ranges[i].recorded;
    Spot bad;
    for (; i < ranges.size() && ranges[i].recorded == &recorded; ++i)
      bad.add(ranges[i].bad);
    report(recorded, bad, findings);
  }
}

}  // namespace kvtape
