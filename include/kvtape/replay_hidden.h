// From a layer's input to its output, with the cache and without it: where do
// the two part? penzai's KVCachingAttention against the layer it was made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/replay.h"

namespace kvtape {

/// Outputs of a layer, [batch, token, embedding], against others, token by
/// token: out of tolerance where |error| > rtol |expected| + atol sqrt(n) as
/// vectors of n elements. Elements that nearly cancel say nothing by
/// themselves.
struct HiddenComparison {
  std::int64_t tokens = 0;  // of all rows
  std::int64_t out_of_tolerance = 0;
  double max_abs = 0;    // of elements; NaN where one of two numbers is NaN
  double max_error = 0;  // of tokens: |error| / |expected|
  /// The first token that is out, and the element of it that is furthest off.
  struct Place {
    std::int64_t row = 0;
    std::int64_t token = 0;
    std::int64_t element = 0;
    double expected = 0;
    double actual = 0;
  };
  std::optional<Place> first;
};

struct HiddenLayer {
  std::int64_t layer = 0;
  /// Cached against uncached. Absent where the trace does not begin with the
  /// sequence: what came before is in no hidden state.
  std::optional<HiddenComparison> parted;
  std::optional<HiddenComparison> cached;    // against the recorded output
  std::optional<HiddenComparison> uncached;  // against the recorded output
};

struct HiddenReport {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  DType cache_dtype = DType::kF32;
  Tolerance tolerance;  // for all three comparisons
  std::vector<HiddenLayer> layers;
  std::vector<Finding> findings;          // clamped writes and the like
  std::vector<std::string> not_compared;  // and why; never success
  std::vector<std::string> notes;         // what else was left out, and why

  /// Something compared, nothing out of tolerance, no findings.
  bool success() const;
};

/// Whether a tape holds weights and hidden states of a layer.
bool has_hidden(const Tape& tape);

/// Replays layers from /trace/layers/<n>/hidden [batch, token, embedding] with
/// /layers/<n>/weights/query, key, value [embedding, head, dim] and output
/// [head, dim, embedding]: projects to queries, keys and values (sums in f64,
/// rounded to f32), rotates them where the rotary spec says so, attends as
/// replay() does, step by step over the cache and at once over nothing but the
/// trace in f32, and projects the outputs. Compares with output_projected
/// where it is recorded. Throws Error when nothing can be computed.
HiddenReport replay_hidden(const Tape& tape, const ReplayOptions& options = {});

}  // namespace kvtape
