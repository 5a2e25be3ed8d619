// Boolean masks of four axes, as EasyDeL combines them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape::easydel {

/// [batch, head, query, position]; an axis of size 1 stands for any size.
struct Mask {
  std::array<std::int64_t, 4> sizes{};
  std::vector<std::uint8_t> bits;

  std::int64_t offset(std::int64_t batch, std::int64_t head, std::int64_t query,
                      std::int64_t position) const;
  std::uint8_t at(std::int64_t batch, std::int64_t head, std::int64_t query,
                  std::int64_t position) const {
    return bits[static_cast<std::size_t>(offset(batch, head, query, position))];
  }
};

Mask empty_mask(const std::array<std::int64_t, 4>& sizes);

/// Elements that are not 0. [batch, position] becomes [batch, 1, 1, position];
/// axes that are missing otherwise stand before the others.
Mask mask_of(const Tensor& tensor);

/// Elements that are 1, where `tensor` is not bool.
Mask mask_of_ones(const Tensor& tensor);

/// Whether all elements are 0 or 1.
bool zeros_and_ones(const Tensor& tensor);

/// Throws Error with JAX's text where sizes do not broadcast.
Mask logical_and(const Mask& a, const Mask& b);

/// Of each row, `queries` rows of the causal mask from its index on, `length`
/// columns. Rows are clamped to be inside.
/// causal: [1 or batch, any, row, position]. Throws Error where it is smaller.
Mask causal_rows(const Mask& causal, std::span<const std::int64_t> index,
                 std::int64_t queries, std::int64_t length);

/// ORs what token_type_ids [batch, token] let see into causal rows, as EasyDeL
/// does it: from row 0 whatever the index, with the condition "type 0" along
/// (query, position) instead of (batch, position).
/// Throws Error where its shapes do not broadcast.
void add_token_types(const Tensor& token_type_ids, Mask& causal);

/// position < index, [batch, 1, 1, length].
Mask written_slots(std::span<const std::int64_t> index, std::int64_t length);

/// bool [batch, head, query, position]
Tensor tensor_of(const Mask& mask);

}  // namespace kvtape::easydel
