// Identical tensors are found so at the speed of memory; all others are
// compared number by number, token by token, in pieces that do not depend on
// the number of threads.
#include "ops/diff_tensors.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

#include "ops/diff_stats.h"
#include "ops/pack_slab.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr std::int64_t kPieceSlots = 64;
constexpr std::int64_t kWave = 256;       // pieces whose results wait
constexpr std::int64_t kMostBands = 512;  // of a tensor

struct Piece {
  std::int64_t row = 0;
  SlotRun run;
};

std::vector<Piece> pieces_of(const std::vector<RowRuns>& rows) {
  std::vector<Piece> pieces;
  for (const RowRuns& row : rows)
    for (const SlotRun& run : row.runs)
      for (std::int64_t at = 0; at < run.count; at += kPieceSlots)
        pieces.push_back(
            {.row = row.row,
             .run = {.expected = run.expected + at,
                     .actual = run.actual + at,
                     .position = run.position + at,
                     .count = std::min(kPieceSlots, run.count - at)}});
  return pieces;
}

// ---- identical tensors

// How many elements lie side by side, and how often they do.
struct Runs {
  std::int64_t outer = 0;  // positions
  std::int64_t outer_stride = 0;
  std::int64_t inner = 0;  // heads, or heads and dims
  std::int64_t inner_stride = 0;
  std::int64_t length = 0;
};

Runs runs_of(const SlabView& view) {
  const auto [positions, heads, dims] = view.shape;
  const auto [by_position, by_head, by_dim] = view.strides;
  if (by_dim != 1 && dims > 1)  // positions lie side by side, if anything does
    return {.outer = heads,
            .outer_stride = by_head,
            .inner = dims,
            .inner_stride = by_dim,
            .length = by_position == 1 || positions == 1 ? positions : 0};
  if (by_head == dims && by_position == heads * dims)
    return {.outer = 1, .inner = 1, .length = positions * heads * dims};
  if (by_position == dims)
    return {.outer = heads,
            .outer_stride = by_head,
            .inner = 1,
            .length = positions * dims};
  return {.outer = positions,
          .outer_stride = by_position,
          .inner = heads,
          .inner_stride = by_head,
          .length = dims};
}

bool same_slabs(const SlabView& a, const SlabView& b) {
  if (a.strides != b.strides) return false;
  const Runs runs = runs_of(a);
  if (runs.length == 0) return false;
  const kernels::Element element = element_of(a.dtype);
  const std::int64_t size = bytes_per_element(a.dtype);
  for (std::int64_t outer = 0; outer < runs.outer; ++outer)
    for (std::int64_t inner = 0; inner < runs.inner; ++inner) {
      const std::int64_t at =
          size * (outer * runs.outer_stride + inner * runs.inner_stride);
      if (!kernels::same_and_finite(a.data + at, b.data + at, element,
                                    runs.length))
        return false;
    }
  return true;
}

struct Readers {
  SlabReader expected;
  SlabReader actual;
};

bool are_same(const TensorPair& pair, const std::vector<Piece>& pieces,
              ThreadPool& pool) {
  if (pair.expected->dtype != pair.actual->dtype) return false;
  std::vector<Readers> readers(static_cast<std::size_t>(pool.size()));
  std::atomic<bool> same = true;
  pool.run(std::ssize(pieces), [&](std::int64_t task, int worker) {
    if (!same.load(std::memory_order_relaxed)) return;
    const Piece& piece = pieces[static_cast<std::size_t>(task)];
    Readers& reader = readers[static_cast<std::size_t>(worker)];
    const SlotRun& run = piece.run;
    if (!same_slabs(
            reader.expected.read(*pair.expected, piece.row, run.expected,
                                 run.count),
            reader.actual.read(*pair.actual, piece.row, run.actual, run.count)))
      same = false;
  });
  return same;
}

// ---- numbers

// Tokens of one piece, one head after the other, as f64.
class Side {
 public:
  void load(const Tensor& tensor, std::int64_t row, std::int64_t first,
            std::int64_t count) {
    const SlabView view = reader_.read(tensor, row, first, count);
    element_ = element_of(view.dtype);
    dims_ = view.shape[2];
    heads_ = view.shape[1];
    size_ = bytes_per_element(view.dtype);
    data_ = packed(view, packed_);
    numbers_.resize(static_cast<std::size_t>(kernels::padded_run(dims_)));
  }

  const double* numbers(std::int64_t slot, std::int64_t head) {
    kernels::widen_run(at(slot, head), element_, dims_, numbers_.data());
    return numbers_.data();
  }

  // The same with every bit of a NaN.
  const double* exact_numbers(std::int64_t slot, std::int64_t head) {
    const std::byte* from = at(slot, head);
    for (std::int64_t dim = 0; dim < dims_; ++dim)
      numbers_[static_cast<std::size_t>(dim)] =
          kernels::exact_number(from + dim * size_, element_);
    return numbers_.data();
  }

 private:
  const std::byte* at(std::int64_t slot, std::int64_t head) const {
    return data_ + (slot * heads_ + head) * dims_ * size_;
  }

  SlabReader reader_;
  std::vector<std::byte> packed_;
  std::vector<double> numbers_;
  const std::byte* data_ = nullptr;
  kernels::Element element_ = kernels::Element::kF32;
  std::int64_t heads_ = 0;
  std::int64_t dims_ = 0;
  std::int64_t size_ = 0;
};

struct Sides {
  Side expected;
  Side actual;
};

struct PieceResult {
  std::vector<DiffCell> cells;
  std::vector<DiffStats> slots;
  std::optional<DiffPoint> first;
};

// What the tokens of a piece add up to.
class PieceDiff {
 public:
  PieceDiff(const TensorPair& pair, const Piece& piece,
            const kernels::Allowance& allowance, Sides& sides)
      : pair_(pair), piece_(piece), allowance_(allowance), sides_(sides) {
    dims_ = extent(*pair.expected, AxisKind::kDim);
  }

  PieceResult run() {
    const SlotRun& run = piece_.run;
    sides_.expected.load(*pair_.expected, piece_.row, run.expected, run.count);
    sides_.actual.load(*pair_.actual, piece_.row, run.actual, run.count);
    result_.cells.resize(static_cast<std::size_t>(pair_.heads.size()));
    result_.slots.resize(static_cast<std::size_t>(run.count));
    for (std::int64_t slot = 0; slot < run.count; ++slot)
      for (std::int64_t head = 0; head < pair_.heads.size(); ++head)
        compare(slot, head);
    return std::move(result_);
  }

 private:
  void compare(std::int64_t slot, std::int64_t number) {
    const std::int64_t head = pair_.heads.first + number;
    expected_ = sides_.expected.numbers(slot, head);
    actual_ = sides_.actual.numbers(slot, head);
    auto run =
        kernels::finite_difference(expected_, actual_, dims_, allowance_);
    if (!run) {
      expected_ = sides_.expected.exact_numbers(slot, head);
      actual_ = sides_.actual.exact_numbers(slot, head);
      run = kernels::difference(expected_, actual_, dims_, allowance_);
    }
    DiffCell& cell = result_.cells[static_cast<std::size_t>(number)];
    add_token(*run, dims_, cell.stats);
    add_token(*run, dims_, result_.slots[static_cast<std::size_t>(slot)]);
    note_worst(*run, slot, head, cell);
    if (run->mismatched == 0) return;
    const std::int64_t position = piece_.run.position + slot;
    if (!cell.first_bad) cell.first_bad = position;
    if (!result_.first) result_.first = first_bad(slot, head);
  }

  void note_worst(const kernels::Difference& run, std::int64_t slot,
                  std::int64_t head, DiffCell& cell) const {
    if (run.differing == 0 && run.mismatched == 0) return;
    if (cell.worst && run.non_finite_mismatched == 0 &&
        !(run.max_abs > cell.worst->abs_error))
      return;
    std::optional<DiffPoint> worst;
    for (std::int64_t dim = 0; dim < dims_; ++dim) {
      const DiffPoint point = point_at(slot, head, dim);
      if (!worst || worse(point, *worst)) worst = point;
    }
    if (worst && (!cell.worst || worse(*worst, *cell.worst)))
      cell.worst = worst;
  }

  DiffPoint first_bad(std::int64_t slot, std::int64_t head) const {
    std::int64_t dim = 0;
    while (!kernels::mismatches(expected_[dim], actual_[dim], allowance_))
      ++dim;
    return point_at(slot, head, dim);
  }

  DiffPoint point_at(std::int64_t slot, std::int64_t head,
                     std::int64_t dim) const {
    const double expected = expected_[dim];
    const double actual = actual_[dim];
    const bool finite = std::isfinite(expected) && std::isfinite(actual);
    const bool equal =
        !finite && !kernels::mismatches(expected, actual, allowance_);
    return {.layer = pair_.layer,
            .kind = pair_.kind,
            .row = piece_.row,
            .position = piece_.run.position + slot,
            .head = head,
            .dim = dim,
            .expected = expected,
            .actual = actual,
            .allowed = kernels::allowed_error(allowance_, expected),
            .abs_error = equal    ? 0
                         : finite ? std::abs(actual - expected)
                                  : std::numeric_limits<double>::quiet_NaN()};
  }

  const TensorPair& pair_;
  const Piece& piece_;
  const kernels::Allowance& allowance_;
  Sides& sides_;
  std::int64_t dims_ = 0;
  const double* expected_ = nullptr;
  const double* actual_ = nullptr;
  PieceResult result_;
};

// ---- results

std::vector<DiffBand> bands_of(const TensorPair& pair,
                               const std::vector<Piece>& pieces) {
  std::int64_t end = 0;
  for (const Piece& piece : pieces)
    end = std::max(end, piece.run.position + piece.run.count);
  std::int64_t width = 1;
  while (width * kMostBands < end) width *= 2;
  std::vector<DiffBand> bands;
  for (std::int64_t first = 0; first < end; first += width)
    bands.push_back({.layer = pair.layer,
                     .kind = pair.kind,
                     .first = first,
                     .last = std::min(first + width, end)});
  return bands;
}

TensorDiff empty_diff(const TensorPair& pair,
                      const std::vector<Piece>& pieces) {
  TensorDiff result{.bands = bands_of(pair, pieces)};
  for (std::int64_t head = pair.heads.first; head < pair.heads.last; ++head)
    result.cells.push_back({.layer = pair.layer,
                            .kind = pair.kind,
                            .head = head,
                            .rounding_limit = pair.rounding_limit});
  return result;
}

DiffStats& stats_at(std::int64_t position, TensorDiff& result) {
  const DiffBand& front = result.bands.front();
  const std::int64_t width = front.last - front.first;
  return result.bands[static_cast<std::size_t>(position / width)].stats;
}

void add_piece(const Piece& piece, const PieceResult& part,
               TensorDiff& result) {
  for (std::size_t i = 0; i < part.cells.size(); ++i) {
    const DiffCell& from = part.cells[i];
    DiffCell& cell = result.cells[i];
    add(from.stats, cell.stats);
    if (from.worst && (!cell.worst || worse(*from.worst, *cell.worst)))
      cell.worst = from.worst;
    if (from.first_bad)
      cell.first_bad =
          std::min(cell.first_bad.value_or(*from.first_bad), *from.first_bad);
  }
  for (std::int64_t slot = 0; slot < piece.run.count; ++slot)
    add(part.slots[static_cast<std::size_t>(slot)],
        stats_at(piece.run.position + slot, result));
  if (part.first && (!result.first || earlier(*part.first, *result.first)))
    result.first = part.first;
}

// All pairs are the same finite numbers.
void count_same(const TensorPair& pair, const std::vector<Piece>& pieces,
                TensorDiff& result) {
  const std::int64_t dims = extent(*pair.expected, AxisKind::kDim);
  for (const Piece& piece : pieces) {
    const std::int64_t numbers = piece.run.count * dims;
    for (DiffCell& cell : result.cells) cell.stats.compared += numbers;
    for (std::int64_t slot = 0; slot < piece.run.count; ++slot)
      stats_at(piece.run.position + slot, result).compared +=
          dims * pair.heads.size();
  }
}

}  // namespace

TensorDiff diff_tensors(const TensorPair& pair,
                        const std::vector<RowRuns>& rows,
                        const kernels::Allowance& allowance, ThreadPool& pool,
                        const std::function<void(std::int64_t)>& advance) {
  const std::vector<Piece> pieces = pieces_of(rows);
  TensorDiff result = empty_diff(pair, pieces);
  const std::int64_t slots = [&] {
    std::int64_t sum = 0;
    for (const Piece& piece : pieces) sum += piece.run.count;
    return sum;
  }();
  if (are_same(pair, pieces, pool)) {
    count_same(pair, pieces, result);
    advance(slots);
    return result;
  }
  std::vector<Sides> sides(static_cast<std::size_t>(pool.size()));
  std::vector<PieceResult> parts(static_cast<std::size_t>(kWave));
  for (std::int64_t first = 0; first < std::ssize(pieces); first += kWave) {
    const std::int64_t count = std::min(kWave, std::ssize(pieces) - first);
    pool.run(count, [&](std::int64_t task, int worker) {
      parts[static_cast<std::size_t>(task)] =
          PieceDiff(pair, pieces[static_cast<std::size_t>(first + task)],
                    allowance, sides[static_cast<std::size_t>(worker)])
              .run();
    });
    std::int64_t done = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(first + i)];
      add_piece(piece, parts[static_cast<std::size_t>(i)], result);
      done += piece.run.count;
    }
    advance(done);
  }
  return result;
}

}  // namespace kvtape
