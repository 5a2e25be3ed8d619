// Deterministic caches and traces of any shape, for documentation, tests and
// bug reports.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/tape.h"

namespace kvtape {

/// Rows of a batch whose prompts differ in length. Left: `starts` and masks
/// say where a row begins. Right: each row has its own index; where rows share
/// one (a growing cache, or padding inside the first step), a mask says it.
enum class Padding : std::uint8_t { kNone, kLeft, kRight };

struct SampleOptions {
  std::int64_t batch_size = 1;
  std::vector<std::int64_t> batch_axes;  // several batch axes; product replaces
                                         // batch_size when not empty
  std::int64_t layers = 2;
  std::int64_t key_heads = 2;
  std::optional<std::int64_t> value_heads;  // absent: key_heads
  std::int64_t query_heads = 4;
  std::int64_t key_dim = 16;
  std::int64_t value_dim = 16;
  std::int64_t sequence_length = 32;
  /// Positions before the first step. Absent: what the trace leaves free, and
  /// for rings and shifting caches so many that the trace goes round the end.
  std::optional<std::int64_t> filled;
  std::int64_t prompt = 8;  // tokens of the first step
  std::int64_t steps = 8;   // steps of one token after it
  std::int64_t window = 0;  // also the extent of a ring or shifting cache
  double logit_softcap = 0;
  Padding padding = Padding::kNone;
  Layout layout = Layout::kLinear;
  HeadMap head_map = HeadMap::kRepeat;
  Visibility visibility = Visibility::kCausal;
  MaskedRows masked_rows = MaskedRows::kUniform;
  RotaryStyle rotary = RotaryStyle::kNone;  // other: unrotated keys are stored
  DType dtype = DType::kF32;
  Quantization::Scheme quantization = Quantization::Scheme::kNone;
  std::int64_t block_size = 64;  // NF4
  /// Memory order. "batch" stands for all batch axes; "head" may be left out
  /// where there is one, and "layer" be named where layers are stacked.
  std::string axes = "batch,position,head,dim";
  bool stacked = false;        // one dataset for all layers
  bool keys_in_cache = false;  // the dump is of after the trace
  bool trace = true;           // false: only a cache, full unless `filled`
  bool final_state = true;     // record the cache after the trace
  std::uint64_t seed = 0;
};

/// A cache before the first step, the trace of a decode on it with outputs
/// computed by replay(), and the final state. Outputs have the dtype of the
/// cache, f32 for f64 (replay computes in f32). The same bytes on any machine;
/// a number depends on seed, layer, row, position, head and dim alone, so other
/// axes, dtypes or lengths show the same numbers. Unquantized tensors are
/// computed as they are read and take no memory. Throws Error when the options
/// contradict each other, or ask for more than a file or 8 GiB of memory hold.
Tape make_sample(const SampleOptions& options);

/// A named fault that validate() or replay() must find.
struct Flaw {
  std::string_view name;      // "nan"
  std::string_view what;      // one line
  std::string_view found_by;  // "validate --values", "replay", ...
};
std::span<const Flaw> flaws();

/// Plants it. Throws Error for an unknown name, or a tape too small for it.
/// The flaw "cut" damages the file and is done by the writer's caller.
void plant_flaw(Tape& tape, std::string_view name);

}  // namespace kvtape
