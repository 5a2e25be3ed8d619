// A changed copy of a value: EasyDeL's replace(**fields).
#pragma once

#include <utility>

namespace kvtape {

/// `replace(metadata, [](auto& m) { m.batch_size = 2; })`: the value with some
/// fields changed; the one that is given stays as it is, and tensors share
/// their bytes.
template <typename T, typename Change>
T replace(T value, Change&& change) {
  std::forward<Change>(change)(value);
  return value;
}

}  // namespace kvtape
