// What EasyDeL does without a word, refused.
#pragma once

#include <span>

#include "kvtape/easydel.h"

namespace kvtape::easydel {

/// int32 [batch]
Tensor int_row(const std::vector<std::int64_t>& values);

/// Throws Error with JAX's text unless a block of new tokens, for that many
/// indexes, can be written.
void check_block(const char* field, std::span<const std::int64_t> cache,
                 std::span<const std::int64_t> block, std::int64_t rows);

// The rest is for checked mode.

void check_starts(const Tensor& starts, std::int64_t batch_size);

/// A moved write, heads or dims left out, an index that advances by another
/// number than is written, clamped rows of the causal mask, token types along
/// the wrong axis, another form of storage.
void check_concatenation(const TransformerCacheView& view,
                         const Concatenation& arguments);

/// `count` rows from `slot` on, of `rows`.
void check_slot(std::int64_t slot, std::int64_t rows, std::int64_t count);

/// Layers left out or ignored, parts of rows that would stay as they were,
/// another form of storage.
void check_insert(const TransformerCache& cache, const TransformerCache& other,
                  std::int64_t slot, const EasyQuantizer& quantizer);

}  // namespace kvtape::easydel
