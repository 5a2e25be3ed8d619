// A tensor in pieces of slots that do not depend on the number of threads;
// sums of pieces are put together in their order, counts in any.
#include "ops/stats_tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/difference.h"
#include "kernels/histogram.h"
#include "kernels/summary.h"
#include "ops/pack_slab.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr std::int64_t kPieceSlots = 64;
constexpr std::int64_t kWave = 64;        // pieces whose results wait
constexpr std::int64_t kMostBands = 512;  // of positions

struct Piece {
  std::int64_t row = 0;
  std::int64_t slot = 0;
  std::int64_t position = 0;
  std::int64_t count = 0;
};

std::vector<Piece> pieces_of(const std::vector<RowRuns>& rows) {
  std::vector<Piece> pieces;
  for (const RowRuns& row : rows)
    for (const SlotRun& run : row.runs)
      for (std::int64_t at = 0; at < run.count; at += kPieceSlots)
        pieces.push_back({.row = row.row,
                          .slot = run.expected + at,
                          .position = run.position + at,
                          .count = std::min(kPieceSlots, run.count - at)});
  return pieces;
}

void add(Norms& norms, const Norms& later) {
  if (later.count == 0) return;
  norms.min = norms.count == 0 ? later.min : std::min(norms.min, later.min);
  norms.max = norms.count == 0 ? later.max : std::max(norms.max, later.max);
  norms.count += later.count;
  norms.zeros += later.zeros;
  norms.sum += later.sum;
}

// What a piece adds up to: groups are the layer, its heads, or its slots.
struct PieceStats {
  std::vector<kernels::Summary> groups;
  std::vector<Norms> norms;
  std::vector<double> squares;         // [head, dim]
  std::vector<kernels::Summary> dims;  // [head, dim], by channel
};

/// What a worker keeps between pieces.
struct Worker {
  SlabReader reader;
  std::vector<std::byte> packed;
  std::vector<double> numbers;
  std::vector<kernels::Summarizer> summarizers;
  std::vector<std::uint32_t> counts;  // [group, bin]
};

void add_number(double number, kernels::Summary& channel) {
  ++channel.count;
  channel.nan += std::isnan(number);
  channel.inf += std::isinf(number);
  if (!std::isfinite(number)) return;
  channel.zeros += number == 0;
  channel.min = std::min(channel.min, number);
  channel.max = std::max(channel.max, number);
  channel.sum += number;
  channel.squares += number * number;
}

// Sums of numbers, not distances from a mean.
void add_channel(const kernels::Summary& later, kernels::Summary& channel) {
  channel.count += later.count;
  channel.nan += later.nan;
  channel.inf += later.inf;
  channel.zeros += later.zeros;
  channel.min = std::min(channel.min, later.min);
  channel.max = std::max(channel.max, later.max);
  channel.sum += later.sum;
  channel.squares += later.squares;
}

class PieceWork {
 public:
  PieceWork(const StatsTensor& tensor, const Piece& piece, StatsBy by,
            Worker& worker)
      : tensor_(tensor), piece_(piece), by_(by), worker_(worker) {
    dims_ = extent(*tensor.tensor, AxisKind::kDim);
    heads_ = tensor.heads.size();
    element_ = element_of(tensor.tensor->dtype);
  }

  PieceStats run() {
    const SlabView view = worker_.reader.read(*tensor_.tensor, piece_.row,
                                              piece_.slot, piece_.count);
    const std::byte* data = packed(view, worker_.packed);
    const std::int64_t run = dims_ * bytes_per_element(view.dtype);
    worker_.numbers.resize(
        static_cast<std::size_t>(kernels::padded_run(dims_)));
    worker_.summarizers.assign(groups(), {});
    result_.norms.resize(groups());
    result_.squares.assign(static_cast<std::size_t>(heads_ * dims_), 0);
    if (by_ == StatsBy::kChannel) result_.dims.resize(result_.squares.size());
    for (std::int64_t slot = 0; slot < piece_.count; ++slot)
      for (std::int64_t head = 0; head < heads_; ++head)
        add_token(
            slot, head,
            data + (slot * view.shape[1] + tensor_.heads.first + head) * run);
    for (const kernels::Summarizer& each : worker_.summarizers)
      result_.groups.push_back(each.total());
    return std::move(result_);
  }

 private:
  std::size_t groups() const {
    if (by_ == StatsBy::kHead) return static_cast<std::size_t>(heads_);
    return by_ == StatsBy::kPosition ? static_cast<std::size_t>(piece_.count)
                                     : 1;
  }

  std::size_t group_of(std::int64_t slot, std::int64_t head) const {
    if (by_ == StatsBy::kHead) return static_cast<std::size_t>(head);
    return by_ == StatsBy::kPosition ? static_cast<std::size_t>(slot) : 0;
  }

  void add_token(std::int64_t slot, std::int64_t head, const std::byte* data) {
    double* numbers = worker_.numbers.data();
    const std::size_t group = group_of(slot, head);
    kernels::widen_run(data, element_, dims_, numbers);
    worker_.summarizers[group].add(numbers, dims_);
    if (!worker_.counts.empty())
      kernels::count_bits(data, element_, dims_,
                          &worker_.counts[group * kernels::kBins]);
    if (by_ == StatsBy::kChannel)
      for (std::int64_t dim = 0; dim < dims_; ++dim)
        add_number(numbers[dim],
                   result_.dims[static_cast<std::size_t>(head * dims_ + dim)]);
    const double squares = kernels::sum_of_squares(numbers, dims_);
    if (!std::isfinite(squares)) return;
    kernels::add_squares(
        numbers, dims_,
        &result_.squares[static_cast<std::size_t>(head * dims_)]);
    const double norm = std::sqrt(squares);
    add(result_.norms[group], {.count = 1,
                               .zeros = norm == 0 ? 1 : 0,
                               .min = norm,
                               .max = norm,
                               .sum = norm});
  }

  const StatsTensor& tensor_;
  const Piece& piece_;
  StatsBy by_;
  Worker& worker_;
  std::int64_t dims_ = 0;
  std::int64_t heads_ = 0;
  kernels::Element element_ = kernels::Element::kF32;
  PieceStats result_;
};

// ---- rows

// Of the finite numbers of a histogram, in the order of |x|.
Quantiles quantiles_of(const std::uint64_t* counts, kernels::Element element) {
  std::uint64_t total = 0;
  const auto at = [&](std::size_t magnitude) {
    return counts[magnitude] + counts[magnitude | 0x8000];
  };
  constexpr std::size_t kHalf = kernels::kBins / 2;
  const auto finite = [&](std::size_t magnitude) {
    return std::isfinite(kernels::bin_number(magnitude, element));
  };
  for (std::size_t i = 0; i < kHalf && finite(i); ++i) total += at(i);
  Quantiles result{.exact = element == kernels::Element::kF16 ||
                            element == kernels::Element::kBF16};
  std::array<std::pair<double, double*>, 4> wanted{{{0.5, &result.p50},
                                                    {0.9, &result.p90},
                                                    {0.99, &result.p99},
                                                    {0.999, &result.p999}}};
  std::uint64_t seen = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; i < kHalf && finite(i) && next < wanted.size(); ++i) {
    seen += at(i);
    while (next < wanted.size() && seen > 0 &&
           static_cast<double>(seen) >=
               wanted[next].first * static_cast<double>(total))
      *wanted[next++].second = kernels::bin_number(i, element);
  }
  return result;
}

std::vector<std::int64_t> histogram_of(const std::uint64_t* counts,
                                       kernels::Element element, double min,
                                       double max) {
  std::vector<std::int64_t> parts(static_cast<std::size_t>(kHistogramParts), 0);
  const double width = (max - min) / static_cast<double>(kHistogramParts);
  for (std::size_t bin = 0; bin < kernels::kBins; ++bin) {
    const double number = kernels::bin_number(bin, element);
    if (counts[bin] == 0 || !std::isfinite(number)) continue;
    const double part = width > 0 ? (number - min) / width : 0;
    const auto at = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(std::floor(part)), 0, kHistogramParts - 1);
    parts[static_cast<std::size_t>(at)] +=
        static_cast<std::int64_t>(counts[bin]);
  }
  return parts;
}

void set_moments(const kernels::Summary& summary, StatsRow& row) {
  row.count = summary.count;
  row.zeros = summary.zeros;
  row.nan = summary.nan;
  row.inf = summary.inf;
  if (summary.finite() == 0) return;
  row.mean = summary.mean();
  row.std = summary.std();
  row.min = summary.min;
  row.max = summary.max;
}

void set_channel(const kernels::Summary& sums, StatsRow& row) {
  kernels::Summary summary = sums;
  const auto count = static_cast<double>(summary.finite());
  if (count > 0)
    summary.squares =
        std::max(0.0, sums.squares - sums.sum * (sums.sum / count));
  set_moments(summary, row);
}

class Collector {
 public:
  Collector(const StatsTensor& tensor, const std::vector<Piece>& pieces,
            StatsBy by)
      : tensor_(tensor), by_(by) {
    dims_ = extent(*tensor.tensor, AxisKind::kDim);
    std::int64_t end = 0;
    for (const Piece& piece : pieces)
      end = std::max(end, piece.position + piece.count);
    while (width_ * kMostBands < end) width_ *= 2;
    end_ = end;
    const auto groups = static_cast<std::size_t>(group_count());
    groups_.resize(groups);
    norms_.resize(groups);
    channels_.assign(static_cast<std::size_t>(tensor.heads.size() * dims_), 0);
    if (by == StatsBy::kChannel) dims_of_.resize(channels_.size());
    if (has_histograms()) counts_.assign(groups * kernels::kBins, 0);
  }

  bool has_histograms() const {
    return by_ == StatsBy::kLayer || by_ == StatsBy::kHead;
  }

  std::int64_t group_count() const {
    if (by_ == StatsBy::kHead) return tensor_.heads.size();
    return by_ == StatsBy::kPosition ? (end_ + width_ - 1) / width_ : 1;
  }

  void add_piece(const Piece& piece, const PieceStats& part) {
    for (std::size_t i = 0; i < part.groups.size(); ++i) {
      const std::size_t group =
          by_ == StatsBy::kPosition
              ? static_cast<std::size_t>(
                    (piece.position + static_cast<std::int64_t>(i)) / width_)
              : i;
      groups_[group] = merged(groups_[group], part.groups[i]);
      add(norms_[group], part.norms[i]);
    }
    for (std::size_t i = 0; i < part.squares.size(); ++i)
      channels_[i] += part.squares[i];
    for (std::size_t i = 0; i < part.dims.size(); ++i)
      add_channel(part.dims[i], dims_of_[i]);
  }

  void add_counts(std::vector<std::uint32_t>& counts) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts_[i] += counts[i];
    std::fill(counts.begin(), counts.end(), 0U);
  }

  TensorStats take() {
    TensorStats result;
    if (by_ == StatsBy::kChannel)
      add_channel_rows(result.rows);
    else
      for (std::size_t group = 0; group < groups_.size(); ++group)
        result.rows.push_back(row_of(group));
    for (std::size_t head = 0; head * width() < channels_.size(); ++head) {
      const auto first =
          channels_.begin() + static_cast<std::ptrdiff_t>(head * width());
      result.head_seen.push_back(
          std::any_of(first, first + static_cast<std::ptrdiff_t>(width()),
                      [](double squares) { return squares != 0; }));
    }
    const double tokens = std::max<double>(1, static_cast<double>(tokens_()));
    for (double& squares : channels_) squares = std::sqrt(squares / tokens);
    result.channels = std::move(channels_);
    return result;
  }

 private:
  std::size_t width() const { return static_cast<std::size_t>(dims_); }

  // Tokens whose vectors are finite, of each head.
  std::int64_t tokens_() const {
    std::int64_t count = 0;
    for (const Norms& norms : norms_) count += norms.count;
    return count / std::max<std::int64_t>(1, tensor_.heads.size());
  }

  StatsRow empty_row() const {
    return {.layer = tensor_.layer,
            .kind = tensor_.kind,
            .dtype = tensor_.tensor->dtype};
  }

  StatsRow row_of(std::size_t group) const {
    StatsRow row = empty_row();
    const auto number = static_cast<std::int64_t>(group);
    if (by_ == StatsBy::kHead) row.head = tensor_.heads.first + number;
    if (by_ == StatsBy::kPosition)
      row.positions =
          Interval{number * width_, std::min(end_, (number + 1) * width_)};
    set_moments(groups_[group], row);
    row.norms = norms_[group];
    if (!has_histograms() || row.finite() == 0) return row;
    const auto element = element_of(row.dtype);
    const std::uint64_t* counts = &counts_[group * kernels::kBins];
    row.quantiles = quantiles_of(counts, element);
    row.histogram = histogram_of(counts, element, row.min, row.max);
    return row;
  }

  void add_channel_rows(std::vector<StatsRow>& rows) const {
    for (std::size_t i = 0; i < dims_of_.size(); ++i) {
      StatsRow row = empty_row();
      const auto number = static_cast<std::int64_t>(i);
      row.head = tensor_.heads.first + number / dims_;
      row.channel = number % dims_;
      set_channel(dims_of_[i], row);
      rows.push_back(std::move(row));
    }
  }

  const StatsTensor& tensor_;
  StatsBy by_;
  std::int64_t dims_ = 0;
  std::int64_t width_ = 1;  // positions of a group
  std::int64_t end_ = 0;
  std::vector<kernels::Summary> groups_;
  std::vector<Norms> norms_;
  std::vector<double> channels_;  // sums of squares
  std::vector<kernels::Summary> dims_of_;
  std::vector<std::uint64_t> counts_;
};

}  // namespace

TensorStats tensor_stats(const StatsTensor& tensor,
                         const std::vector<RowRuns>& rows, StatsBy by,
                         ThreadPool& pool,
                         const std::function<void(std::int64_t)>& advance) {
  const std::vector<Piece> pieces = pieces_of(rows);
  Collector collector(tensor, pieces, by);
  const std::int64_t numbers_a_slot =
      tensor.heads.size() * extent(*tensor.tensor, AxisKind::kDim);
  std::vector<Worker> workers(static_cast<std::size_t>(pool.size()));
  if (collector.has_histograms())
    for (Worker& worker : workers)
      worker.counts.assign(
          static_cast<std::size_t>(collector.group_count()) * kernels::kBins,
          0);
  std::vector<PieceStats> parts(static_cast<std::size_t>(kWave));
  // Counts of a worker have 32 bits: so many waves may pass until they are
  // taken. One does, up to a million numbers a slot.
  const std::int64_t taken = std::max<std::int64_t>(
      1, (std::int64_t{1} << 32) /
             (kWave * kPieceSlots * std::max<std::int64_t>(1, numbers_a_slot)));
  std::int64_t waves = 0;
  for (std::int64_t first = 0; first < std::ssize(pieces); first += kWave) {
    const std::int64_t count = std::min(kWave, std::ssize(pieces) - first);
    pool.run(count, [&](std::int64_t task, int worker) {
      parts[static_cast<std::size_t>(task)] =
          PieceWork(tensor, pieces[static_cast<std::size_t>(first + task)], by,
                    workers[static_cast<std::size_t>(worker)])
              .run();
    });
    std::int64_t done = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(first + i)];
      collector.add_piece(piece, parts[static_cast<std::size_t>(i)]);
      done += piece.count;
    }
    if (first + kWave >= std::ssize(pieces) || ++waves % taken == 0)
      for (Worker& worker : workers) collector.add_counts(worker.counts);
    advance(done);
  }
  return collector.take();
}

}  // namespace kvtape
