// Everything that a cache file holds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/finding.h"
#include "kvtape/trace.h"

namespace kvtape {

/// What an attribute has that has no value (HDF5's null dataspace).
struct NoValue {
  NoValue() = default;
  // Not trivial: of a variant of trivial types, texts and lists libstdc++ 12
  // believes that it always has a value, also where memory lacked for a copy,
  // and destroys what is not there.
  NoValue(const NoValue&) noexcept {}
  NoValue& operator=(const NoValue&) noexcept { return *this; }
  ~NoValue() = default;
  bool operator==(const NoValue&) const = default;
};

/// An attribute of a file: None, a bool, a number, a text, a list of integers.
using AttributeValue =
    std::variant<NoValue, bool, std::int64_t, std::uint64_t, double,
                 std::string, std::vector<std::int64_t>>;

/// Something in a file that has no meaning in the model: it is kept and
/// written again. A group (no tensor), a dataset, or further attributes of an
/// object that is known.
struct Extra {
  std::string path;  // "/layers/0/weights/query"
  std::vector<std::pair<std::string, AttributeValue>> attributes;
  std::optional<Tensor> tensor;
};

/// The cache after the last step of a trace, where it was recorded.
struct FinalState {
  std::map<std::int64_t, LayerCache> layers;
  std::optional<Tensor> attention_mask;
};

/// A dumped cache with what came with it.
struct Tape {
  std::string source;  // "easydel", "penzai", "transformer_lens", ...
  std::string producer;
  std::string model;
  Cache cache;
  std::optional<Trace> trace;
  std::optional<FinalState> final_state;
  std::vector<Extra> extras;      // in path order
  std::vector<Finding> findings;  // what the reader found wrong
  /// E08, where the file recorded a digest of its structure and has another:
  /// it was edited, which is no error by itself.
  std::optional<Finding> edited;
};

}  // namespace kvtape
