// What `info` tells in text and in JSON alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

/// Heads and widths as the tensors have them, or else as the metadata say.
struct Dimensions {
  std::optional<std::int64_t> key_heads;
  std::optional<std::int64_t> value_heads;
  std::optional<std::int64_t> key_dim;
  std::optional<std::int64_t> value_dim;
};
Dimensions dimensions(const Cache& cache);

/// The elements of a small integer tensor (index, starts, step lengths);
/// nothing where it is absent, holds floats, or is not small.
std::optional<std::vector<std::int64_t>> readable_integers(
    const std::optional<Tensor>& tensor);

std::string_view name(AxisKind kind);  // "batch", "position", ...

/// "f16", "nf4" or "8bit": how elements are stored.
std::string_view stored_as(const Tensor& tensor);

/// Whether the bytes can be addressed where they are in the file.
bool is_mapped(const Tensor& tensor);

/// Bytes of key and value in one layer; a sum too large for 63 bits stays at
/// the largest number.
std::int64_t layer_bytes(const LayerCache& layer);

/// Layers that the metadata announce and the file does not have.
std::int64_t absent_layers(const Cache& cache);

/// One word of a spec with its default filled in, and whether it was said.
struct Setting {
  std::string text;
  bool said = false;
};
std::vector<Setting> settings(const AttentionSpec& spec,
                              const Dimensions& dimensions);
std::vector<Setting> settings(const RotarySpec& spec,
                              const Dimensions& dimensions);

/// What else is in a file, counted.
struct ExtraCounts {
  std::int64_t weights = 0;  // tensors of a caching layer's linear maps
  std::int64_t others = 0;
};
ExtraCounts count_extras(const Tape& tape);

}  // namespace kvtape
