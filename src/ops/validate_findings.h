// Where the checks put what they find, and what they all ask of a tape.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

/// One finding without its fix, which the table of rules knows.
struct Found {
  std::string_view rule;
  std::string object;
  std::string field;
  std::string expected;
  std::string found;
};

class Findings {
 public:
  explicit Findings(std::vector<Finding> first) : list_(std::move(first)) {}

  void add(Found found);

  /// Sorted by object in natural order, then by rule; equal ones once.
  std::vector<Finding> sorted() &&;

 private:
  std::vector<Finding> list_;
};

/// The positive sizes that the metadata give, after EasyDeL's defaults
///; absent where they say nothing of use.
struct Sizes {
  std::optional<std::int64_t> batch;
  std::optional<std::int64_t> length;
  std::optional<std::int64_t> key_heads;
  std::optional<std::int64_t> value_heads;
  std::optional<std::int64_t> key_dim;
  std::optional<std::int64_t> value_dim;
};
Sizes sizes_of(const CacheMetadata& metadata);

/// The sizes of one key or value, by meaning.
struct Extents {
  std::int64_t batch = 0;
  std::int64_t position = 0;  // or token
  std::int64_t heads = 0;
  std::int64_t dims = 0;
};
Extents extents_of(const Tensor& tensor);

/// The key, or where there is none the value.
const Tensor* either(const LayerCache& layer);

/// A tensor with one axis position, one dim and at most one head.
bool has_usable_axes(const Tensor& tensor);
bool is_usable(const LayerCache& layer);  // it has a key or value, all usable

Layout layout_of(const LayerCache& layer);
std::int64_t window_of(const LayerCache& layer);

/// Are a tensor's values not in its file?
bool is_absent(const Tensor& tensor);

/// Integers of a small dataset; nothing where it holds none of them.
std::optional<std::vector<std::int64_t>> small_integers(
    const std::optional<Tensor>& tensor);

std::string layer_path(std::int64_t layer);
std::string text_of(std::span<const std::int64_t> numbers);  // "[1, 2]"
/// "f16", "int8 of f16", "nf4 of f16".
std::string storage_text(const Tensor& tensor);

}  // namespace kvtape
