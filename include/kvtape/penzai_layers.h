// Named arrays and sublayers of penzai, of which kvtape/penzai.h makes
// attention. Arithmetic is as penzai's on a CPU: each operation is rounded once
// to the dtype of its result; sums run in double.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kvtape/dtype.h"
#include "kvtape/tensor.h"

namespace kvtape::penzai {

/// Elements whose axes are told apart by name; their order means nothing.
using NamedArray = Tensor;

struct NamedAxis {
  std::string name;
  std::int64_t size = 0;
  friend bool operator==(const NamedAxis&, const NamedAxis&) = default;
};
using NamedShape = std::vector<NamedAxis>;  // a Python dict: order, then names

/// In C order of `axes`. Throws Error for a name given twice, and for another
/// number of bytes than the axes take.
NamedArray named_array(DType dtype, const NamedShape& axes,
                       std::vector<std::byte> bytes);
NamedArray zeros(const NamedShape& axes, DType dtype);
/// 0, 1, ..., int32. Throws Error for a negative size.
NamedArray arange(const std::string& axis, std::int64_t size,
                  std::int64_t first = 0);
/// An int32 without axes.
NamedArray scalar(std::int64_t value);
NamedShape named_shape(const NamedArray& array);
/// The elements in C order of these axes, as f64.
/// Throws Error unless they are all axes of the array, in any order.
std::vector<double> numbers(const NamedArray& array,
                            const std::vector<std::string>& axes);

// Sublayers ------------------------------------------------------------------

/// What effects (v1) or keyword arguments (v2) hand to all sublayers, by tag:
/// token_positions, kv_token_positions, attn_mask, cache_end_index.
using SideInputs = std::map<std::string, NamedArray>;

/// A scalar array of a dtype; `value` is rounded to it.
struct Constant {
  double value = 0;
  DType dtype = DType::kF32;
  friend bool operator==(const Constant&, const Constant&) = default;
};

/// What takes the place of a masked logit: finite in f32 and bf16, so that a
/// row that sees nothing averages over all slots; -inf in f16, where it is NaN.
inline constexpr double kMaskedOutValue = -2.3819763e38;

struct Linear {
  NamedArray weights;
  std::vector<std::string> in_axis_names;  // contracted with the input
  std::vector<std::string> out_axis_names;
};
/// Rotary embedding of halves, in f32 unless the input is f64.
struct ApplyRoPE {
  std::string embedding_axis = "projection";
  double max_wavelength = 10000;
  std::string positions = "token_positions";
};
struct ConstantRescale {
  Constant by;
};
struct RMSStandardize {
  std::vector<std::string> across;
  double epsilon = 1e-6;
};
/// An axis and the letter that stands for it in an einsum.
struct EinsumAxis {
  std::string axis;
  std::string index;
  friend bool operator==(const EinsumAxis&, const EinsumAxis&) = default;
};
/// Of two arrays. Other axes than those named are batch axes.
struct NamedEinsum {
  std::vector<EinsumAxis> first, second, output;
};
struct TanhSoftCap {
  Constant soft_cap;
};
/// v1; ApplyExplicitAttentionMask of v2.
struct ApplyAttentionMask {
  std::string mask = "attn_mask";
  Constant masked_out_value{kMaskedOutValue};
};
/// v2: a query sees keys of its own and smaller positions, but no negative one.
struct ApplyCausalAttentionMask {
  Constant masked_out_value{kMaskedOutValue};
  std::string query_positions_input_name = "token_positions";
  std::string kv_positions_input_name = "token_positions";
  std::string seq_axis = "seq";
  std::string kv_seq_axis = "kv_seq";
};
/// v2: and of those the nearest ones, itself included.
struct ApplyCausalSlidingWindowAttentionMask {
  Constant masked_out_value{kMaskedOutValue};
  std::int64_t sliding_window_size = 0;
  std::string query_positions_input_name = "token_positions";
  std::string kv_positions_input_name = "token_positions";
  std::string seq_axis = "seq";
  std::string kv_seq_axis = "kv_seq";
};
struct Softmax {
  std::string axis = "kv_seq";
};

using Sublayer = std::variant<Linear, ApplyRoPE, ConstantRescale,
                              RMSStandardize, NamedEinsum, TanhSoftCap,
                              ApplyAttentionMask, ApplyCausalAttentionMask,
                              ApplyCausalSlidingWindowAttentionMask, Softmax>;

struct Sequential {
  std::vector<Sublayer> sublayers;

  /// Throws Error where axes, dtypes or side inputs do not fit.
  NamedArray operator()(const NamedArray& x, const SideInputs& inputs) const;
  /// A NamedEinsum first, which takes both.
  NamedArray operator()(const NamedArray& first, const NamedArray& second,
                        const SideInputs& inputs) const;
};

// Structures -----------------------------------------------------------------

/// A shape that arguments and results are checked against: these axes, a size
/// that is absent being any, but the same for the same axis of both; and any
/// other axes ("**B"), the same of both.
struct ArraySpec {
  struct Dimension {
    std::string axis;
    std::optional<std::int64_t> size;
    friend bool operator==(const Dimension&, const Dimension&) = default;
  };
  std::vector<Dimension> named_shape;
  friend bool operator==(const ArraySpec&, const ArraySpec&) = default;
};

/// "f32[**B, seq: S, embedding: 8]", as penzai prints it.
std::string text(const ArraySpec& spec);

}  // namespace kvtape::penzai
