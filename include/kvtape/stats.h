// What the numbers of a cache look like: moments, quantiles, norms, accidents.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/selection.h"
#include "kvtape/tape.h"
#include "kvtape/validate.h"

namespace kvtape {

/// What a row of the report is about.
enum class StatsBy : std::uint8_t {
  kLayer,     // keys or values of a layer
  kHead,      // of one head of it
  kPosition,  // of some positions of it, over all heads
  kChannel,   // of one dim of one head of it
};
std::string_view name(StatsBy value);  // "layer", "head", ...

struct StatsOptions {
  StatsBy by = StatsBy::kLayer;
  bool dead = false;    // also slots that hold no token
  Selection selection;  // numbers stay those of the whole cache
  int threads = 0;  // 0 = one per core; the report is the same for any number
  Progress progress;
};

/// Of |x| of the finite numbers: the smallest number that at least this part
/// of them does not exceed. f16 and bf16: exact. f32 and f64: of the numbers
/// cut to eight significant bits, so less than 0.8 % too small.
struct Quantiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  bool exact = false;
};

/// Lengths of the vectors [dim] of tokens, of those that are finite.
struct Norms {
  std::int64_t count = 0;
  std::int64_t zeros = 0;
  double min = 0;
  double max = 0;
  double sum = 0;
};

struct StatsRow {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::optional<std::int64_t> head;     // by head and by channel
  std::optional<std::int64_t> channel;  // by channel
  std::optional<Interval> positions;    // by position
  DType dtype = DType::kF32;
  std::int64_t count = 0;
  std::int64_t zeros = 0;  // -0 too
  std::int64_t nan = 0;
  std::int64_t inf = 0;
  // Of the finite numbers; the deviation is that of the population.
  double mean = 0;
  double std = 0;
  double min = 0;
  double max = 0;
  Norms norms;                         // not by channel
  std::optional<Quantiles> quantiles;  // by layer and by head
  /// How many numbers lie in equal parts of [min, max]; by layer and by head.
  std::vector<std::int64_t> histogram;
  /// Codes of quantized tensors at an end of their range; by layer.
  std::optional<std::int64_t> saturated;

  std::int64_t finite() const { return count - nan - inf; }
};

/// What catches the eye: "all zero", "NaN", "an outlier channel".
struct StatsFinding {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::optional<std::int64_t> head;
  std::string text;
  friend bool operator==(const StatsFinding&, const StatsFinding&) = default;
};

struct StatsReport {
  StatsBy by = StatsBy::kLayer;
  bool dead = false;
  std::vector<StatsRow> rows;  // by layer, keys before values, then in order
  std::vector<StatsFinding> findings;
  std::vector<std::string> not_read;  // "/layers/3/key: it has no values"
};

/// Parts of StatsRow::histogram.
inline constexpr std::int64_t kHistogramParts = 32;

/// Reads the live slots of all layers, once. Throws Error where data cannot be
/// read, or the selection names what is not there.
StatsReport stats(const Tape& tape, const StatsOptions& options = {});

}  // namespace kvtape
