// Tensors with named axes whose bytes may lie in memory, in a mapped file, or
// behind a reader that is asked for one range after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvtape/dtype.h"

namespace kvtape {

/// What an axis means. Axes that are none of the others are batch axes:
/// several of them are seen as one, flattened in C order of their order.
enum class AxisKind : std::uint8_t {
  kBatch,
  kPosition,  // slots of the cache
  kToken,     // new tokens of a trace
  kHead,
  kDim,
  kLayer,  // several layers stacked in one dataset
};

struct Axis {
  AxisKind kind = AxisKind::kBatch;
  std::string name;  // the source's own name: "seq" for a position in penzai
  std::int64_t size = 0;
  friend bool operator==(const Axis&, const Axis&) = default;
};

/// A hyperslab: along each axis of a source, in memory order, the first index
/// and how many.
struct Box {
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> count;
};

/// How a source keeps its bytes; what `info` tells about it.
struct Storage {
  std::string layout = "memory";  // or contiguous, chunked, compact, ...
  std::string filters;            // "shuffle, deflate", or empty
  std::int64_t stored_bytes = 0;  // in the file, after filters
  std::string digest;             // as the writer recorded it, or empty
  std::string digested = "";      // what it begins with: "f32[2,3]"
};

/// Where the bytes of a tensor come from. Elements are little-endian.
class SlabSource {
 public:
  virtual ~SlabSource() = default;

  /// False where the bytes are not there: a document may tell of tensors
  /// without their values. Reading them is an Error then.
  virtual bool has_values() const { return true; }

  /// All bytes, in C order of the memory axes, where they can be addressed
  /// (owned, or mapped from a file, possibly unaligned); otherwise empty.
  virtual std::span<const std::byte> bytes() const = 0;

  /// Copies a box to `out`, packed, in C order of the memory axes.
  /// Requires: the box lies inside, `out` has exactly its bytes.
  /// Throws Error when the bytes cannot be had.
  virtual void read(const Box& box, std::span<std::byte> out) const = 0;

  virtual Storage storage() const = 0;
};

/// EasyDeL's quantized forms: the payload is Tensor::source. Codes
/// and scales are read as one axis, whatever their shape in a file.
struct Quantization {
  enum class Scheme : std::uint8_t { kNone, kInt8, kNF4 };
  Scheme scheme = Scheme::kNone;
  /// NF4: elements per absmax, the effective one (min(block, head_dim)).
  std::int64_t block_size = 0;
  /// int8: one scale for the dims of each batch, position and head; NF4: one
  /// absmax for each block.
  std::shared_ptr<const SlabSource> scales;
  std::int64_t scale_count = 0;
  DType scale_dtype = DType::kF32;
  DType payload_dtype = DType::kI8;  // kI8 or kU8
  std::int64_t payload_count = 0;    // elements of the payload
};

/// A tensor: how its elements are typed and ordered, and where they are.
/// Copying it copies the description and shares the bytes, which never change.
///
/// Unquantized: the source holds the axes in memory order, packed.
/// Quantized: the axes are batch, position, head, dim in this order, the source
/// holds the codes in C order of it (int8: one each; NF4: two in a byte, the
/// first in the high nibble), and dtype is what they widen to.
struct Tensor {
  DType dtype = DType::kF32;
  std::vector<Axis> axes;  // of the source, slowest first
  std::shared_ptr<const SlabSource> source;
  std::optional<std::int64_t> layer;  // index along a kLayer axis, if one is
  Quantization quantization;

  bool quantized() const {
    return quantization.scheme != Quantization::Scheme::kNone;
  }
};

/// Product of the sizes of the axes of one kind; 1 where there is none.
std::int64_t extent(const Tensor& tensor, AxisKind kind);
bool has_axis(const Tensor& tensor, AxisKind kind);

/// Elements of the tensor, of one layer where layers are stacked.
/// Throws Error when the product does not fit 63 bits.
std::int64_t element_count(const Tensor& tensor);

/// Bytes that the tensor's elements take in its source, scales included.
std::int64_t payload_bytes(const Tensor& tensor);

/// "[2, 1024, 8, 64]", sizes in memory order, a stacked layer axis left out.
std::string shape_text(const Tensor& tensor);

/// Distances in elements between neighbours in an unquantized source, by
/// meaning. Axes that are absent have stride 0.
struct Strides {
  std::int64_t position = 0;  // or token
  std::int64_t head = 0;
  std::int64_t dim = 0;
};
Strides strides(const Tensor& tensor);

/// Offset in elements of a (flattened) batch row, the fixed layer included.
std::int64_t row_offset(const Tensor& tensor, std::int64_t row);

/// A tensor that owns its bytes. Throws Error when their number is not that of
/// the axes and the dtype.
Tensor make_tensor(DType dtype, std::vector<Axis> axes,
                   std::vector<std::byte> bytes);

/// A source that owns its bytes; `sizes` are those of its memory axes.
std::shared_ptr<const SlabSource> make_source(std::vector<std::byte> bytes,
                                              std::vector<std::int64_t> sizes,
                                              int bytes_per_element);

/// The elements of an integer or bool tensor of any rank, in memory order.
/// Throws Error when it holds floats, or an unsigned value above 2^63 - 1.
std::vector<std::int64_t> integers(const Tensor& tensor);

/// All elements in C order of (batch, position or token, head, dim), as f64.
/// Widens exactly, quantized tensors too; for tests and small tensors.
/// Declared here, defined over the kernels.
std::vector<double> doubles(const Tensor& tensor);

}  // namespace kvtape
