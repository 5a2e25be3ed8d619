// Finds writes past the end before anything is computed.
#include "ops/refused_write.h"

#include <fmt/format.h>

#include "ops/row_slots.h"

namespace kvtape {
namespace {

std::string range(std::int64_t first, std::int64_t count) {
  return fmt::format("[{}, {})", first, first + count);
}

struct Write {
  std::int64_t step = 0;
  std::int64_t row = 0;
  std::int64_t index = 0;
  std::int64_t count = 0;
};

std::optional<Finding> finding_of(const ReplayProblem& p, const Write& write,
                                  ReplayOptions::Mode mode) {
  RowSlots slots;
  slots.index = write.index;
  const auto position = write_position(p, slots, write.count);
  const bool moved = !position || *position != write.index;
  if (!moved || (position && mode == ReplayOptions::Mode::kFaithful))
    return std::nullopt;
  Finding finding{.rule = "E90",
                  .object = fmt::format("/trace/layers/{}/key", p.number),
                  .field = fmt::format("step {} row {}", write.step, write.row),
                  .expected = "a write inside slots " + range(0, p.extent),
                  .found = "one to slots " + range(write.index, write.count)};
  if (position) {
    finding.found += ", clamped to " + range(*position, write.count);
    finding.fix = "--mode faithful reproduces it";
  } else {
    finding.found += ", more than the cache has";
    finding.fix = "no system does this: dump a cache that is long enough";
  }
  return finding;
}

}  // namespace

std::optional<RefusedWrite> refused_write(const ReplayProblem& p,
                                          ReplayOptions::Mode mode) {
  if (p.layout != Layout::kLinear || p.in_cache) return std::nullopt;
  std::int64_t tokens = 0;  // that are kept, of the steps before
  for (std::size_t step = 0; step < p.step_lengths.size(); ++step) {
    const std::int64_t count = p.step_lengths[step];
    for (std::int64_t row = 0; count > 0 && row < p.rows; ++row) {
      const Write write{
          .step = static_cast<std::int64_t>(step),
          .row = row,
          .index = p.index[static_cast<std::size_t>(row)] + tokens,
          .count = count};
      if (auto finding = finding_of(p, write, mode))
        return RefusedWrite{.step = write.step, .finding = std::move(*finding)};
    }
    if (!p.frozen) tokens += count;
  }
  return std::nullopt;
}

}  // namespace kvtape
