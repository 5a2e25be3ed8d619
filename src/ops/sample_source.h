// The numbers of a sample, computed as they are read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// The position that slot `slot` of a row holds once `index` positions were
/// written in order, or -1.
std::int64_t position_in_slot(Layout layout, std::int64_t extent,
                              std::int64_t index, std::int64_t slot);

enum class SampleKind : std::uint8_t { kKey, kValue, kQuery };

/// A tensor of a sample: which numbers, in which order.
struct SampleArray {
  std::uint64_t seed = 0;
  SampleKind kind = SampleKind::kKey;
  DType dtype = DType::kF32;
  std::vector<Axis> axes;   // memory order
  std::int64_t layer = 0;   // the first one, or the only one
  std::int64_t layers = 1;  // sizes a layer axis, if there is one
  Layout layout = Layout::kLinear;
  /// [row]. Of a cache: positions filled. Of a trace: position of token 0.
  std::vector<std::int64_t> index;
  /// [row], or empty: positions before it are zeros.
  std::vector<std::int64_t> starts;
};

/// A source that computes what is read; slots that are not written are zeros.
std::shared_ptr<const SlabSource> sample_source(SampleArray array);

}  // namespace kvtape
