// Statistics of all layers, and what catches the eye in them.
#include "kvtape/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/names.h"
#include "ops/diff_align.h"
#include "ops/stats_tensor.h"
#include "ops/validate_findings.h"

namespace kvtape {
namespace {

constexpr Words<StatsBy, 4> kByWords{{{StatsBy::kLayer, "layer"},
                                      {StatsBy::kHead, "head"},
                                      {StatsBy::kPosition, "position"},
                                      {StatsBy::kChannel, "channel"}}};

// A channel stands out where its root mean square is so many times the median
// of its head's channels (LLM.int8(), Dettmers et al. 2022, takes |x| >= 6 on
// activations of about unit spread).
constexpr double kOutlier = 6;

double median(std::vector<double> values) {
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Stats {
 public:
  Stats(const Tape& tape, const StatsOptions& options)
      : tape_(tape), options_(options), pool_(options.threads) {
    report_.by = options.by;
    report_.dead = options.dead;
    for (const auto& [number, layer] : tape.cache.layers)
      if (const Tensor* tensor = either(layer))
        total_ += 2 * extents_of(*tensor).batch * extents_of(*tensor).position;
  }

  StatsReport run() {
    const auto& layers = tape_.cache.layers;
    const Interval kept =
        resolved(options_.selection.layer,
                 layers.empty() ? 1 : layers.rbegin()->first + 1, "layer");
    for (const auto& [number, layer] : layers) {
      if (number < kept.first || number >= kept.last) continue;
      runs_.reset();
      read(number, layer, TensorKind::kKey, layer.key);
      read(number, layer, TensorKind::kValue, layer.value);
    }
    return std::move(report_);
  }

 private:
  void read(std::int64_t number, const LayerCache& layer, TensorKind kind,
            const std::optional<Tensor>& stored) {
    if (!stored || options_.selection.kind.value_or(kind) != kind) return;
    if (const std::string reason = why_not(*stored, layer); !reason.empty()) {
      report_.not_read.push_back(
          fmt::format("/layers/{}/{}: {}", number, name(kind), reason));
      return;
    }
    if (!runs_) runs_ = rows_of(layer);
    const Tensor floats = as_floats(*stored);
    const StatsTensor tensor{
        .tensor = &floats,
        .layer = number,
        .kind = kind,
        .heads = resolved(options_.selection.head, extents_of(*stored).heads,
                          "head")};
    TensorStats found = tensor_stats(
        tensor, *runs_, options_.by, pool_, [this](std::int64_t slots) {
          done_ += slots;
          if (options_.progress)
            options_.progress(std::min(done_, total_), total_);
        });
    if (stored->quantized() && options_.by == StatsBy::kLayer)
      found.rows.front().saturated = saturated_codes(*stored);
    note_findings(tensor, found);
    report_.rows.insert(report_.rows.end(), found.rows.begin(),
                        found.rows.end());
  }

  static std::string why_not(const Tensor& tensor, const LayerCache& layer) {
    const Extents own = extents_of(tensor);
    const Extents all = extents_of(*either(layer));
    if (own.batch != all.batch || own.position != all.position)
      return "its slots are not those of the keys";
    return unreadable(tensor);
  }

  static std::int64_t saturated_codes(const Tensor& tensor) {
    const Quantization& quantization = tensor.quantization;
    const bool nf4 = quantization.scheme == Quantization::Scheme::kNF4;
    std::int64_t count = 0;
    for_each_run(*tensor.source, {quantization.payload_count}, 1,
                 [&](std::int64_t, std::span<const std::byte> bytes) {
                   for (const std::byte code : bytes)
                     count += nf4 ? ends_of_nf4(code) : ends_of_int8(code);
                 });
    return count;
  }

  static std::int64_t ends_of_int8(std::byte code) {
    const auto value = static_cast<std::int8_t>(code);
    return value >= 127 || value <= -127 ? 1 : 0;
  }

  static std::int64_t ends_of_nf4(std::byte codes) {
    const auto bits = std::to_integer<unsigned>(codes);
    const auto end = [](unsigned code) { return code == 0 || code == 15; };
    return (end(bits >> 4) ? 1 : 0) + (end(bits & 15) ? 1 : 0);
  }

  std::vector<RowRuns> rows_of(const LayerCache& layer) const {
    const Interval rows = resolved(options_.selection.row,
                                   extents_of(*either(layer)).batch, "row");
    std::vector<RowRuns> result;
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      const auto slots = filled_slots(tape_, layer, row, options_.dead,
                                      options_.selection.position);
      result.push_back(
          {.row = row, .runs = align(slots, slots, DiffAlign::kPosition).runs});
    }
    return result;
  }

  // ---- findings

  void find(const StatsTensor& tensor, std::optional<std::int64_t> head,
            std::string text) {
    report_.findings.push_back({.layer = tensor.layer,
                                .kind = tensor.kind,
                                .head = head,
                                .text = std::move(text)});
  }

  void note_findings(const StatsTensor& tensor, const TensorStats& found) {
    std::int64_t count = 0;
    std::int64_t zeros = 0;
    std::int64_t nan = 0;
    std::int64_t inf = 0;
    std::int64_t vectors = 0;
    for (const StatsRow& row : found.rows) {
      vectors += row.norms.zeros;
      count += row.count;
      zeros += row.zeros;
      nan += row.nan;
      inf += row.inf;
    }
    if (count == 0) return;
    if (nan > 0) find(tensor, {}, fmt::format("{} NaN", nan));
    if (inf > 0) find(tensor, {}, fmt::format("{} Inf", inf));
    if (zeros == count) return find(tensor, {}, "all zero");
    if (vectors > 0)
      find(tensor, {},
           fmt::format("{} of a token and head zero throughout",
                       vectors == 1 ? std::string("1 vector")
                                    : fmt::format("{} vectors", vectors)));
    for (std::int64_t head = 0; head < tensor.heads.size(); ++head)
      note_head(tensor, found, head);
  }

  void note_head(const StatsTensor& tensor, const TensorStats& found,
                 std::int64_t head) {
    const std::int64_t number = tensor.heads.first + head;
    if (!found.head_seen[static_cast<std::size_t>(head)])
      return find(tensor, number, "all zero or not finite");
    const std::int64_t dims = extent(*tensor.tensor, AxisKind::kDim);
    const auto first = found.channels.begin() + head * dims;
    const std::vector<double> channels(first, first + dims);
    const double usual = median(channels);
    for (std::int64_t dim = 0; dim < dims; ++dim) {
      const double size = channels[static_cast<std::size_t>(dim)];
      if (usual > 0 && size > kOutlier * usual)
        find(tensor, number,
             fmt::format("dim {} is {:.3g} times as large as the median dim",
                         dim, size / usual));
    }
  }

  const Tape& tape_;
  const StatsOptions& options_;
  ThreadPool pool_;
  StatsReport report_;
  std::optional<std::vector<RowRuns>> runs_;  // of the layer at work
  std::int64_t total_ = 0;                    // slots of keys and values
  std::int64_t done_ = 0;
};

}  // namespace

std::string_view name(StatsBy value) { return word_of(kByWords, value); }

StatsReport stats(const Tape& tape, const StatsOptions& options) {
  return Stats(tape, options).run();
}

}  // namespace kvtape
