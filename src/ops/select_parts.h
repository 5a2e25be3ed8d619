// Tensors cut to the rows, heads and positions of a selection.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "kvtape/selection.h"
#include "ops/tape_tensors.h"
#include "ops/tensor_sources.h"

namespace kvtape {

/// What is kept of each axis; absent: all of it.
struct Parts {
  std::int64_t row_count = 0;   // of the whole
  std::int64_t head_count = 0;  // key heads of the whole
  std::optional<Interval> rows;
  std::optional<Interval> heads;
  std::optional<Interval> positions;
};

/// The query heads of a key head: `group` side by side, or key_heads apart.
struct QueryHeads {
  std::int64_t group = 1;
  bool tile = false;
};

/// Of a quantized tensor: codes and scales of what the cuts leave; its axes
/// stay. Throws Error where blocks reach over heads. Requires that dims are not
/// cut.
void cut_codes(const TapeTensor& named, const std::vector<AxisCut>& cuts);

class CutTensors {
 public:
  explicit CutTensors(const Parts& parts) : parts_(parts) {}

  void set_query_heads(const QueryHeads& heads) { query_heads_ = heads; }

  /// Throws Error where the tensor cannot be cut.
  void run(const TapeTensor& named);

 private:
  AxisCut head_cut(const TapeTensor& named, std::int64_t size) const;
  std::vector<AxisCut> cuts_of(const TapeTensor& named) const;

  const Parts& parts_;
  QueryHeads query_heads_;
  std::map<const SlabSource*, std::shared_ptr<const SlabSource>> made_;
};

}  // namespace kvtape
