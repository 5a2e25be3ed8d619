// One cache into a slot of another, as continuous batching does.
#pragma once

#include <cstdint>
#include <string>

#include "kvtape/mode.h"
#include "kvtape/tape.h"

namespace kvtape {

struct InsertReport {
  std::int64_t slot = 0;   // as it was asked for
  std::int64_t rows = 0;   // of the cache that was inserted
  std::int64_t batch = 0;  // rows of the cache it went into
  std::int64_t layers = 0;
  Mode mode = Mode::kChecked;
  /// Why checked mode refuses; empty: it was done.
  std::string refused;
  /// The changed cache without the trace that came with it.
  Tape tape;
};

/// EasyDeL's TransformerCache.insert of keys, values, index and starts; rows of
/// attention_mask and tokens, which EasyDeL does not have, go with them.
/// Throws Error where EasyDeL fails, or a tensor contradicts itself.
InsertReport insert(const Tape& tape, const Tape& other, std::int64_t slot,
                    Mode mode = Mode::kChecked);

}  // namespace kvtape
