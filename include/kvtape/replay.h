// Does attention over a cache give what the model gave?
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/dtype.h"
#include "kvtape/finding.h"
#include "kvtape/tape.h"
#include "kvtape/validate.h"

namespace kvtape {

/// `|actual - expected| <= atol + rtol * |expected|`: actual is the computed
/// output in f32, not rounded to the dtype of the recorded one. NaN is equal to
/// NaN, an infinity to itself, and neither is near anything else.
struct Tolerance {
  double rtol = 0;
  double atol = 0;
};
/// For outputs of a cache stored as `dtype`: PyTorch's published defaults
/// (f16 1e-3, bf16 1.6e-2, otherwise 1.3e-6; atol 1e-5).
Tolerance default_tolerance(DType dtype);

struct ReplayOptions {
  enum class Mode {
    kChecked,   // a write that the system would clamp is a finding
    kFaithful,  // such a write is done as the system does it
  };
  Mode mode = Mode::kChecked;
  std::int64_t first_step = 0;            // compare and report steps from here
  std::optional<std::int64_t> last_step;  // to here, exclusive
  std::optional<double> rtol;  // if one of both is given, the other is 0
  std::optional<double> atol;
  bool fail_fast = false;  // stop after the first layer out of tolerance
  bool keep = false;       // fill ReplayReport::replayed
  int threads = 0;         // 0 = one per core
  Progress progress;
};

/// One element of an output, and how far off it is.
struct ReplayPoint {
  std::int64_t step = 0;
  std::int64_t token = 0;     // along the trace's token axis
  std::int64_t position = 0;  // of the token in the cache: its own slot
  std::int64_t layer = 0;
  std::int64_t row = 0;
  std::int64_t head = 0;
  std::int64_t dim = 0;
  double expected = 0;
  double actual = 0;
  double allowed = 0;
  double abs_error = 0;  // NaN where exactly one of both is NaN
};

/// What one step (or one layer) looked like, over all rows and heads.
struct ReplayRow {
  std::int64_t number = 0;    // of the step or layer
  std::int64_t position = 0;  // of the step's last token in row 0
  std::int64_t compared = 0;  // elements
  std::int64_t out_of_tolerance = 0;
  ReplayPoint worst;  // largest abs error; NaN counts as largest
};

/// The replayed cache against the recorded final one.
struct FinalComparison {
  std::string object;  // "/final/layers/0/key"
  std::int64_t compared = 0;
  std::int64_t differing = 0;  // elements, by bits
  /// "row 0 position 5 head 1 dim 2"; with nothing differing: why it could not
  /// be compared. Empty: equal.
  std::string first;
};

struct ReplayReport {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::int64_t layers = 0;
  std::int64_t rows = 0;
  std::int64_t query_heads = 0;
  ReplayOptions::Mode mode = ReplayOptions::Mode::kChecked;
  /// Decides the default tolerance: the coarsest dtype of the keys, values and
  /// recorded outputs that are replayed (f64, f32, f16, bf16).
  DType cache_dtype = DType::kF32;
  Tolerance tolerance;
  std::int64_t compared = 0;  // output elements
  std::int64_t out_of_tolerance = 0;
  /// Parts of the trace that could not be compared, and why; never success.
  std::vector<std::string> not_compared;
  std::optional<ReplayPoint> first;  // by step, layer, row, token, head, dim
  std::optional<ReplayPoint> worst;
  std::vector<ReplayRow> by_step;
  std::vector<ReplayRow> by_layer;
  /// Largest abs error of each step in each layer: [layer][step], both in the
  /// order of by_layer and by_step; what the picture shows.
  std::vector<std::vector<double>> errors;
  std::vector<Finding> findings;  // clamped writes and the like
  std::vector<FinalComparison> final_state;
  /// Steps over which the error doubles, where it grows steadily.
  std::optional<double> doubling_steps;
  std::string kernel;  // "avx2" or "scalar"; the result does not depend on it
  /// The tape with computed outputs and final state (ReplayOptions::keep).
  std::optional<Tape> replayed;

  /// All compared, nothing out of tolerance, no findings, final state equal.
  bool success() const;
};

/// Replays the trace of a tape. Throws Error when there is no trace, or when
/// shapes or specs contradict each other so that nothing can be computed.
ReplayReport replay(const Tape& tape, const ReplayOptions& options = {});

}  // namespace kvtape
