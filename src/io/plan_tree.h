// A plan as a tree, for writers that need what belongs together in order.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/write_plan.h"

namespace kvtape {

/// An object of a plan and those below it; the plan outlives it.
struct Place {
  std::string path;  // "/layers/0"; of the root ""
  std::string name;  // the last part of it
  const PlannedObject* object = nullptr;
  std::map<std::string, Place> below;

  bool is_tensor() const { return object->dataset.has_value(); }
  /// Null where there is none.
  const AttributeValue* attribute(std::string_view wanted) const;
};

Place tree_of(const WritePlan& plan);

/// What is below a place: small tensors before large ones, groups behind
/// tensors, names as people count. At the root what describes the cache stands
/// before its tensors.
std::vector<const Place*> in_order(const Place& place);

/// A group that stands for one tensor: codes and scales.
struct QuantizedPlace {
  Tensor tensor;
  const Place* codes = nullptr;
  const Place* scales = nullptr;
};
/// Nothing where a group is none, or holds more than that.
std::optional<QuantizedPlace> quantized_place(const Place& place);

}  // namespace kvtape
