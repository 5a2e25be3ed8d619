// Checks of what stands in the slots of keys and values.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "ops/validate_checks.h"
#include "ops/validate_tally.h"
#include "ops/validate_values.h"

namespace kvtape {
namespace {

// So many slots are looked at before what is known of each is given up again:
// a class, a hash, a place in a table. Longer rows are taken in pieces, and
// repeats are found within a piece.
constexpr std::int64_t kGroupSlots = 1 << 21;
constexpr std::int64_t kPieceSlots = 1 << 22;
constexpr std::size_t kGroupUnits = 1 << 14;

/// A row of a layer, or a piece of a long one.
struct Unit {
  std::int64_t number = 0;
  const LayerCache* layer = nullptr;
  SlotRange slots;
  std::vector<SlotClass> classes;
  std::vector<std::uint64_t> hashes;  // of key and value together
  Repeats repeats;
};

/// A range of slots of a unit.
struct Range {
  Unit* unit = nullptr;
  std::int64_t first = 0;  // from the start of the unit
  std::int64_t count = 0;
  Tally key;
  Tally value;
};

/// What was found in one layer.
struct LayerTally {
  Tally key;
  Tally value;
  Repeats repeats;
};

const Tensor* scannable(const std::optional<Tensor>& tensor) {
  return tensor && has_separate_slots(*tensor) ? &*tensor : nullptr;
}

// Slots of all rows, 0 where they cannot be looked at.
std::int64_t slots_of(const LayerCache& layer) {
  if (!is_usable(layer)) return 0;
  if (!scannable(layer.key) && !scannable(layer.value)) return 0;
  const Extents has = extents_of(*either(layer));
  return has.batch * has.position;
}

/// Goes through the rows of all layers.
class Units {
 public:
  explicit Units(const Cache& cache)
      : layer_(cache.layers.begin()), end_(cache.layers.end()) {
    settle();
  }

  bool done() const { return layer_ == end_; }

  Unit next() {
    const Extents has = extents_of(*either(layer_->second));
    Unit unit{.number = layer_->first,
              .layer = &layer_->second,
              .slots = {.row = row_,
                        .first = first_,
                        .count = std::min(kPieceSlots, has.position - first_)}};
    first_ += unit.slots.count;
    if (first_ >= has.position) {
      first_ = 0;
      if (++row_ >= has.batch) {
        row_ = 0;
        ++layer_;
        settle();
      }
    }
    return unit;
  }

 private:
  // Steps over layers in which there is nothing to look at.
  void settle() {
    while (layer_ != end_ && slots_of(layer_->second) == 0) ++layer_;
  }

  std::map<std::int64_t, LayerCache>::const_iterator layer_;
  std::map<std::int64_t, LayerCache>::const_iterator end_;
  std::int64_t row_ = 0;
  std::int64_t first_ = 0;
};

// Ranges that suit both tensors of a layer.
std::int64_t range_size(const LayerCache& layer) {
  std::int64_t size = extents_of(*either(layer)).position;
  for (const Tensor* tensor : {scannable(layer.key), scannable(layer.value)})
    if (tensor) size = std::min(size, positions_per_load(*tensor));
  return std::max<std::int64_t>(1, size);
}

void append_ranges(Unit& unit, std::vector<Range>& ranges) {
  const std::int64_t size = range_size(*unit.layer);
  for (std::int64_t first = 0; first < unit.slots.count; first += size)
    ranges.push_back({.unit = &unit,
                      .first = first,
                      .count = std::min(size, unit.slots.count - first)});
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  a = (a ^ (b >> 29)) * 0xbf58476d1ce4e5b9U + b;
  return a == 0 ? 1 : a;
}

// A tensor that is shorter than its partner is looked at as far as it goes.
void scan_tensor(const Tensor& tensor, Range& range, SlotScanner& scanner,
                 Tally& tally, bool is_second) {
  const Extents has = extents_of(tensor);
  Unit& unit = *range.unit;
  const std::int64_t row = unit.slots.row;
  const std::int64_t first = unit.slots.first + range.first;
  const std::int64_t count = std::min(range.count, has.position - first);
  if (count <= 0 || row >= has.batch) return;
  tally.head_seen.assign(static_cast<std::size_t>(has.heads), false);
  scanner.load(tensor, row, first, count);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto slot = static_cast<std::size_t>(range.first + i);
    const std::uint64_t hash =
        count_slot(scanner, i, unit.classes[slot], row, first + i, tally);
    std::uint64_t& both = unit.hashes[slot];
    // Zero in one of them is zero in both: an unwritten slot repeats nothing.
    if (!is_second)
      both = hash;
    else
      both = both == 0 || hash == 0 ? 0 : mixed(both, hash);
  }
}

void scan_range(Range& range, SlotScanner& scanner) {
  const LayerCache& layer = *range.unit->layer;
  if (const Tensor* key = scannable(layer.key))
    scan_tensor(*key, range, scanner, range.key, false);
  if (const Tensor* value = scannable(layer.value))
    scan_tensor(*value, range, scanner, range.value, true);
}

// A head that no live slot of the row showed, though some slot held data.
void finish_row(std::int64_t row, Tally& tally) {
  const bool written = tally.live > tally.unwritten.count;
  for (std::size_t head = 0; written && head < tally.head_seen.size(); ++head)
    if (!tally.head_seen[head])
      tally.zero_heads.add(row, static_cast<std::int64_t>(head));
  tally.head_seen.clear();
}

// Rotated keys differ by their position even for equal tokens. Without that
// the first layer repeats wherever a token does.
bool may_repeat(const Tape& tape, const Unit& unit) {
  const LayerCache& layer = *unit.layer;
  const bool rotated =
      merged(layer.rotary, tape.cache.rotary).keys_rotated.value_or(true);
  const bool both = scannable(layer.key) && scannable(layer.value);
  return !both || (!rotated && unit.number == tape.cache.layers.begin()->first);
}

class SlotCheck {
 public:
  SlotCheck(const Tape& tape, ThreadPool& pool, const Progress& progress)
      : tape_(tape),
        pool_(pool),
        progress_(progress),
        scanners_(static_cast<std::size_t>(pool.size())) {
    for (const auto& [number, layer] : tape.cache.layers)
      total_ += slots_of(layer);
  }

  std::map<std::int64_t, LayerTally> run() {
    Units rest(tape_.cache);
    while (!rest.done()) {
      std::vector<Unit> group;
      std::int64_t slots = 0;
      while (!rest.done() && slots < kGroupSlots && group.size() < kGroupUnits)
        slots += group.emplace_back(rest.next()).slots.count;
      run_group(group);
    }
    close_row();
    return std::move(layers_);
  }

 private:
  void run_group(std::vector<Unit>& group) {
    std::vector<Range> ranges;
    for (Unit& unit : group) {
      prepare(unit);
      append_ranges(unit, ranges);
    }
    pool_.run(static_cast<std::int64_t>(ranges.size()),
              [&](std::int64_t task, int worker) {
                Range& range = ranges[static_cast<std::size_t>(task)];
                scan_range(range, scanners_[static_cast<std::size_t>(worker)]);
                done_ += range.count;
                if (worker == 0 && progress_) progress_(done_, total_);
              });
    pool_.run(static_cast<std::int64_t>(group.size()),
              [&](std::int64_t task, int) {
                Unit& unit = group[static_cast<std::size_t>(task)];
                if (!may_repeat(tape_, unit))
                  unit.repeats = find_repeats(unit.slots, unit.hashes);
              });
    for (const Range& range : ranges) collect(range);
    for (const Unit& unit : group) collect(unit);
  }

  void prepare(Unit& unit) {
    if (unit.layer != marked_) {
      marks_.emplace(*unit.layer);
      marked_ = unit.layer;
    }
    unit.classes = classes_of(tape_, *unit.layer, *marks_, unit.slots);
    unit.hashes.assign(static_cast<std::size_t>(unit.slots.count), 0);
  }

  // In the order of the ranges, so that threads change nothing.
  void collect(const Range& range) {
    const Unit& unit = *range.unit;
    if (unit.number != open_number_ || unit.slots.row != open_row_) close_row();
    open_number_ = unit.number;
    open_row_ = unit.slots.row;
    open_.key.add(range.key);
    open_.value.add(range.value);
  }

  void collect(const Unit& unit) {
    Repeats& repeats = layers_[unit.number].repeats;
    if (repeats.slots.count == 0) repeats.original = unit.repeats.original;
    repeats.slots.add(unit.repeats.slots);
  }

  void close_row() {
    if (open_row_ < 0) return;
    finish_row(open_row_, open_.key);
    finish_row(open_row_, open_.value);
    LayerTally& layer = layers_[open_number_];
    layer.key.add(open_.key);
    layer.value.add(open_.value);
    open_ = {};
  }

  const Tape& tape_;
  ThreadPool& pool_;
  const Progress& progress_;
  std::vector<SlotScanner> scanners_;
  const LayerCache* marked_ = nullptr;  // whose marks these are
  std::optional<RowMarks> marks_;
  std::int64_t open_number_ = 0;  // the row that is being put together
  std::int64_t open_row_ = -1;
  LayerTally open_;
  std::map<std::int64_t, LayerTally> layers_;
  std::int64_t total_ = 0;  // slots
  std::atomic<std::int64_t> done_{0};
};

std::string slot_text(const Spot& spot) {
  return fmt::format("first in row {} position {}", spot.row, spot.at);
}

/// The first element of a slot that is NaN, or infinite.
std::string element_text(const Tensor& tensor, const Spot& spot, bool nan) {
  SlotScanner scanner;
  scanner.load(tensor, spot.row, spot.at, 1);
  const std::int64_t at = nan ? scanner.first_nan(0) : scanner.first_inf(0);
  const std::int64_t dims = extents_of(tensor).dims;
  return fmt::format("{} head {} dim {}", slot_text(spot), at / dims,
                     at % dims);
}

void report(const char* rule, const std::string& object, const char* field,
            std::string expected, std::string found, Findings& findings) {
  findings.add({.rule = rule,
                .object = object,
                .field = field,
                .expected = std::move(expected),
                .found = std::move(found)});
}

void report_tensor(const std::string& path, const Tensor& tensor,
                   const Tally& tally, bool is_filled, Findings& findings) {
  if (tally.nan.count > 0)
    report("E70", path, "live slots", "no NaN",
           fmt::format("{} NaN, {}", tally.nan.count,
                       element_text(tensor, tally.nan, true)),
           findings);
  if (tally.infinite.count > 0)
    report("E71", path, "live slots", "finite numbers",
           fmt::format("{} infinite, {}", tally.infinite.count,
                       element_text(tensor, tally.infinite, false)),
           findings);
  if (is_filled && tally.unwritten.count > 0)
    report("E72", path, "live slots", "data in every slot",
           fmt::format("{} of {} all zero, {}", tally.unwritten.count,
                       tally.live, slot_text(tally.unwritten)),
           findings);
  if (tally.zero_heads.count > 0)
    report(
        "E74", path, "heads", "data in every head",
        fmt::format("{} all zero, first row {} head {}", tally.zero_heads.count,
                    tally.zero_heads.row, tally.zero_heads.at),
        findings);
  if (tally.not_finite.count > 0)
    report("W50", path, "other slots", "finite numbers",
           fmt::format("{} NaN or infinite, {}", tally.not_finite.count,
                       slot_text(tally.not_finite)),
           findings);
  if (tally.stale.count > 0)
    report("W51", path, "slots beyond index", "zeros",
           fmt::format("{} with data, {}", tally.stale.count,
                       slot_text(tally.stale)),
           findings);
}

void report_layer(std::int64_t number, const LayerCache& layer,
                  const LayerTally& tally, Findings& findings) {
  const std::string path = layer_path(number);
  const bool is_filled =
      RowMarks(layer).index || layout_of(layer) == Layout::kGrowing;
  if (layer.key)
    report_tensor(path + "/key", *layer.key, tally.key, is_filled, findings);
  if (layer.value)
    report_tensor(path + "/value", *layer.value, tally.value, is_filled,
                  findings);
  const Spot& repeated = tally.repeats.slots;
  if (repeated.count > 0)
    report("E73", path, "live slots", "each key and value once",
           fmt::format("{} repeated, first row {} position {} as position {}",
                       repeated.count, repeated.row, repeated.at,
                       tally.repeats.original),
           findings);
}

// Pads are usual, and written like tokens; they matter where the attention is
// one that reads masks and no mask was kept. One finding for the whole cache.
void report_pads(const Tape& tape,
                 const std::map<std::int64_t, LayerTally>& layers,
                 Findings& findings) {
  if (tape.trace && tape.trace->attention_mask) return;
  Spot pads;
  std::int64_t first = -1;
  for (const auto& [number, layer] : tape.cache.layers) {
    if (!layers.contains(number)) continue;
    const LayerTally& tally = layers.at(number);
    if (merged(layer.attention, tape.cache.attention).visibility ==
        Visibility::kRange)
      continue;
    if (tally.key.pads.count > 0 && first < 0) first = number;
    pads.add(tally.key.pads);
  }
  if (pads.count > 0)
    report("W52", "/layers", "pads", "an attention_mask that hides them",
           fmt::format("{} with data, first in layer {} row {} position {}",
                       pads.count, first, pads.row, pads.at),
           findings);
}

}  // namespace

void check_slots(const Tape& tape, ThreadPool& pool, const Progress& progress,
                 Findings& findings) {
  const auto layers = SlotCheck(tape, pool, progress).run();
  for (const auto& [number, layer] : tape.cache.layers)
    if (const auto tally = layers.find(number); tally != layers.end())
      report_layer(number, layer, tally->second, findings);
  report_pads(tape, layers, findings);
}

}  // namespace kvtape
