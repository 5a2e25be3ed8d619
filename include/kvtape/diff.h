// Where two caches part, how badly, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/dtype.h"
#include "kvtape/explanation.h"
#include "kvtape/replay.h"
#include "kvtape/selection.h"
#include "kvtape/tape.h"
#include "kvtape/validate.h"

namespace kvtape {

/// Which slots of the two caches are compared with each other.
enum class DiffAlign : std::uint8_t {
  kPosition,  // those that hold the same position
  kStart,     // the first live slots of a row, the second ones, and so on
  kEnd,       // the last live slots, those before them, and so on
  kTokens,    // as kStart, shifted to the longest common run of tokens
};
std::string_view name(DiffAlign value);  // "position", "start", "end", "tokens"
std::optional<DiffAlign> align_from_name(std::string_view name);

struct DiffOptions {
  std::optional<double> rtol;  // if one of both is given, the other is 0
  std::optional<double> atol;
  /// Instead: so many units in the last place, at the expected number, of the
  /// coarser dtype of the two tensors.
  std::optional<double> ulp;
  bool exact = false;        // instead: bits, of -0 and NaN too
  bool nan_differs = false;  // NaN is not equal to NaN
  bool dead = false;         // also slots that hold no token
  DiffAlign align = DiffAlign::kPosition;
  Selection selection;  // layers, rows, heads, positions (as aligned), kind
  bool explain = true;  // look for the cause of a structural difference
  /// Compares attention outputs over both caches for this tape's queries;
  /// absent: for those of the expected tape, else of the actual one.
  const Tape* queries = nullptr;
  int threads = 0;  // 0 = one per core; the report is the same for any number
  Progress progress;
};

/// Pairs of numbers. Errors are |actual - expected| of those that are both
/// finite; all is computed in f64.
struct DiffStats {
  std::int64_t compared = 0;
  std::int64_t mismatched = 0;  // out of tolerance
  std::int64_t differing = 0;   // not the same number (0 and -0 are)
  std::int64_t nan_expected = 0;
  std::int64_t nan_actual = 0;
  std::int64_t inf_expected = 0;
  std::int64_t inf_actual = 0;
  std::int64_t non_finite = 0;  // pairs with a NaN or an Inf
  /// Of these: pairs that mismatch. An infinite error so to speak.
  std::int64_t non_finite_mismatched = 0;
  double max_abs = 0;
  double max_rel = 0;   // of |expected|; where that is 0: infinity
  double max_ulps = 0;  // units in the last place at the expected number
  double sum_ulps = 0;
  double squared_error = 0;
  double squared_expected = 0;
  /// Of the worst token: the least cosine of one head's expected and actual
  /// vectors; 1 where both are 0, 0 where one is.
  double cosine = 1;
  /// Of the worst token: |error| / |expected| as vectors of one head.
  double token_error = 0;

  std::int64_t finite() const { return compared - non_finite; }
  double rms() const;        // of the error; requires finite() > 0
  double mean_ulps() const;  // requires finite() > 0
  double sqnr() const;       // 10 log10 of signal to error, dB; may be infinite
};

/// One pair, and where it is.
struct DiffPoint {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::int64_t row = 0;
  std::int64_t position = 0;  // of the expected cache
  std::int64_t head = 0;
  std::int64_t dim = 0;
  double expected = 0;
  double actual = 0;
  double allowed = 0;    // NaN where --exact or --ulp rules
  double abs_error = 0;  // NaN where a NaN or an Inf mismatches
};

/// One head of the keys or values of a layer, over all rows and positions.
struct DiffCell {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::int64_t head = 0;
  DiffStats stats;
  /// What rounding may do to the vector of a token: |error| <= this times
  /// |expected|. It is that of the coarser of the two tensors.
  double rounding_limit = 0;
  std::optional<DiffPoint> worst;         // absent: nothing differs
  std::optional<std::int64_t> first_bad;  // lowest position out of tolerance
};

/// Some positions of the keys or values of a layer, over all rows and heads:
/// one position, or where there are more than 512 of them, a power of two.
struct DiffBand {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::int64_t first = 0;  // positions [first, last)
  std::int64_t last = 0;
  DiffStats stats;
};

/// A field that both caches fill, and not alike; or only one does.
struct DiffField {
  std::string object;    // "/metadata", "/layers/3"
  std::string field;     // "sequence_length"
  std::string expected;  // as text; "-" where it says nothing
  std::string actual;
  /// False for what is not a difference of meaning: how numbers are stored,
  /// who wrote them, and what only one side says.
  bool counts = true;
  friend bool operator==(const DiffField&, const DiffField&) = default;
};

/// What could not be compared, and why; never success.
struct DiffGap {
  std::string object;  // "/layers/3/key", with rows or positions
  std::string reason;
  friend bool operator==(const DiffGap&, const DiffGap&) = default;
};

/// A tensor beside the cache: of the trace, or of the state after it.
struct DiffOther {
  std::string object;  // "/trace/layers/3/output", "/final/layers/3/key"
  DiffStats stats;
  std::optional<DiffPoint> first;  // out of tolerance; positions are tokens
};

enum class Verdict : std::uint8_t {
  kIdentical,   // every number that was compared is the same
  kRounding,    // errors as rounding makes them
  kStructural,  // more than that
};
std::string_view name(Verdict value);  // "identical", "rounding", "structural"

struct DiffReport {
  Verdict verdict = Verdict::kIdentical;
  /// The cell whose worst token is furthest from its rounding limit; it decides
  /// the verdict. Absent where nothing was compared.
  std::optional<DiffCell> deciding;
  DType dtype = DType::kF32;  // the coarsest of the compared tensors
  Tolerance tolerance;        // unless exact or ulp
  std::optional<double> ulp;
  bool exact = false;
  DiffAlign align = DiffAlign::kPosition;
  DiffStats total;
  std::vector<DiffField> fields;
  std::vector<DiffGap> not_compared;
  std::vector<DiffCell> cells;  // by layer, keys before values, by head
  std::vector<DiffBand> bands;  // by layer, keys before values, by position
  std::vector<DiffBand> worst_head;  // of the head with the largest error
  /// The first that is out of tolerance, in the order of a decode: position,
  /// layer, key before value, row, head, dim.
  std::optional<DiffPoint> first;
  std::optional<DiffPoint> worst;  // largest error, the first of these
  /// What both tapes hold beside their caches; not with a selection.
  std::vector<DiffOther> others;
  /// Attention outputs for some queries, where there are any; heads are query
  /// heads, positions tokens.
  std::vector<DiffCell> outputs;
  std::string outputs_missing;  // why there are none, where queries are
  std::optional<Explanation> explanation;

  /// All compared, all within tolerance (the others too), no field that counts.
  bool success() const;
};

/// Compares two caches: their metadata, then the numbers of their slots.
/// What is stored differently (dtype, order of axes, quantization, file format)
/// is compared by what it means. Throws Error where data cannot be read, or
/// the selection names what is not there.
DiffReport diff(const Tape& expected, const Tape& actual,
                const DiffOptions& options = {});

}  // namespace kvtape
