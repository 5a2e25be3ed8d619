// Caches in another form: cut, rounded, reordered. Every function here gives a
// tape whose tensors are computed as they are read: nothing is copied, however
// large the cache is.
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

/// The tape without its trace and the state after it.
Tape without_trace(const Tape& tape);

/// A selected part of a tape, which is a tape by itself.
struct Cut {
  Tape tape;
  std::vector<std::string> left_out;  // paths of what could not be cut
};

/// Takes layers, rows, heads and positions out of a tape. Metadata, index,
/// starts, masks, trace and final state say the same of the part as they did
/// of the whole; layers and positions are numbered from 0. Query heads go with
/// their key head. A trace stays if every step gives the same outputs.
/// Throws Error where a part would mean something else than it did.
Cut select(const Tape& tape, const Selection& selection);

/// Keys, values, queries and outputs in a float dtype, quantized ones too.
/// Rounds to nearest, ties to even; too large a number becomes infinite.
Tape with_dtype(const Tape& tape, DType dtype);

/// Keys and values as what their codes stand for, in the dtype of the tensor.
Tape dequantized(const Tape& tape);

/// Keys and values of the cache and of the final state in a memory order:
/// "batch,position,head,dim" in any order; "batch" stands for all batch axes,
/// "head" may be left out where no tensor has it, and "layer" comes first
/// where it is not named. Throws Error where the order says something else.
Tape with_axes(const Tape& tape, std::string_view order);

/// Stacked layers as tensors of their own.
Tape unstacked(const Tape& tape);

/// Changes fields of records, as `--set` names them: "frozen=1,index=[16,12]".
/// A name is the path of a field in the document of kvtape-json(5), like
/// "layers/3/window" or "metadata/pad_token_id"; a field that is named without
/// a path is that of the cache or of all layers. A value is JSON or a word;
/// null takes the field away. Throws Error that names the field.
Tape with_fields(const Tape& tape, std::string_view assignments);

/// A number that is rounded, and where it is.
struct RoundedElement {
  std::string object;               // a path
  std::vector<std::int64_t> index;  // in memory order
  double value = 0;
  double rounded = 0;
};

/// What with_dtype() does to the numbers of a tape.
struct RoundingReport {
  std::int64_t tensors = 0;   // that get another dtype
  std::int64_t values = 0;    // elements of these
  std::int64_t changed = 0;   // that become another number
  std::int64_t infinite = 0;  // of these: that were finite
  std::int64_t zero = 0;      // of these: that become zero
  /// The largest |rounded - value|, both finite, and where it is first.
  double largest = 0;
  std::optional<RoundedElement> largest_at;
  std::optional<RoundedElement> infinite_at;  // the first
};

struct RoundingOptions {
  int threads = 0;  // 0 = one per core; the report is the same for any number
  Progress progress;
};

/// Reads every tensor that may lose something.
RoundingReport rounding(const Tape& tape, DType dtype,
                        const RoundingOptions& options = {});

}  // namespace kvtape
