// Is a tensor what an operation needs, so that reading it cannot go wrong?
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "kvtape/tensor.h"

namespace kvtape {

/// One thing to say of an object of a tape, as an Error.
[[noreturn]] void contradiction(const std::string& object,
                                const std::string& field,
                                const std::string& expected,
                                const std::string& found,
                                const std::string& hint = {});

/// Throws Error unless `actual` equals `expected`.
void check_equal(const std::string& object, const std::string& field,
                 std::int64_t expected, std::int64_t actual,
                 const std::string& hint = {});

/// Throws Error unless the tensor has a source that holds all its elements,
/// only axes of these kinds (and batch and layer axes), each of them once.
void check_tensor(const Tensor& tensor, const std::string& object,
                  std::initializer_list<AxisKind> kinds);

/// Beyond any cache, and far from the end of 32 bits.
inline constexpr std::int64_t kLargestPosition = std::int64_t{1} << 30;

/// Throws Error unless all values lie in [least, most].
void check_bounds(const std::string& object, std::int64_t least,
                  std::int64_t most, std::span<const std::int64_t> values);

/// check_tensor, and integers or bools.
void check_integers(const Tensor& tensor, const std::string& object,
                    std::initializer_list<AxisKind> kinds);

/// check_tensor, and floats, not quantized.
void check_floats(const Tensor& tensor, const std::string& object,
                  std::initializer_list<AxisKind> kinds);

/// Of a quantized tensor that passed check_tensor: codes and scales are as many
/// as its shape asks for, of a dtype that EasyDeL quantizes.
void check_quantized(const Tensor& tensor, const std::string& object);

}  // namespace kvtape
