// Rows of integer tensors: lengths, positions, masks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Entries [first, first + count) of a row of a tensor [batch, position] or
/// [batch, token]. Throws Error when it holds no integers.
std::vector<std::int64_t> integer_row(const Tensor& tensor, std::int64_t row,
                                      std::int64_t first, std::int64_t count);

/// A whole row, or nothing where there is no tensor.
std::vector<std::int64_t> integer_row(const std::optional<Tensor>& tensor,
                                      std::int64_t row);

/// The first `columns` entries of tokens [first, first + count) of a recorded
/// mask [batch, token, position] as 0 or 1, packed, to `to`.
void read_mask(const Tensor& mask, std::int64_t row, std::int64_t first,
               std::int64_t count, std::int64_t columns, std::uint8_t* to);

}  // namespace kvtape
