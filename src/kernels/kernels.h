// The kernels: plain functions on numbers. scalar.cc and scalar_convert.cc
// define every result to the bit; avx2*.cc give the same bits; dispatch.cc
// chooses at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace kvtape::kernels {

/// Slots of a span (one softmax maximum) and of a block (one chain of fmas);
/// both are aligned to absolute slot numbers.
inline constexpr std::int64_t kSpan = 512;
inline constexpr std::int64_t kBlock = 64;

/// Sums over dims and slots run in this many lanes, folded 8 -> 4 -> 2 -> 1.
inline constexpr std::int64_t kLanes = 8;

enum class Element : std::uint8_t { kF64, kF32, kF16, kBF16 };

/// Slots [begin, end) of a span; begin is a multiple of kLanes.
struct Slots {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Memory that will be read soon after what a call reads: so much of it is to
/// be asked for with every slot. It need not exist.
struct Ahead {
  const std::byte* data = nullptr;
  std::int64_t bytes_per_slot = 0;

  /// What falls to the slots from number `slot` of a call on.
  Ahead from(std::int64_t slot) const {
    return {data + slot * bytes_per_slot, bytes_per_slot};
  }
};

/// [slot, dim] numbers of one head in place; strides in elements, `data` may
/// be unaligned. Where there are scales [slot], of `element`, data are int8
/// codes, and a number is code times scale, rounded to `element`.
struct Rows {
  const std::byte* data = nullptr;
  Element element = Element::kF32;
  std::int64_t slot_stride = 0;
  std::int64_t dim_stride = 1;
  const std::byte* scales = nullptr;
  std::int64_t scale_stride = 0;
  Ahead ahead;
};

/// Floats from one row of scores or weights to the next. Not a power of two:
/// such rows would share their L1 sets.
inline constexpr std::int64_t kScoreStride = kSpan + 16;

/// Floats from one packed row of `dim` floats to the next: whole lanes, and
/// one more so that neighbours do not fall into the same half line of L1.
constexpr std::int64_t packed_stride(std::int64_t dim) {
  return (dim + kLanes - 1) / kLanes * kLanes + kLanes;
}

/// Fewer rows than these are computed on keys and values as they lie; for more
/// it costs less to pack a block first.
inline constexpr std::int64_t kFewRows = 12;

/// Floats of scratch that scores() and values() want for rows of `dim`: two
/// packed blocks.
constexpr std::int64_t scratch_floats(std::int64_t dim) {
  return 2 * kBlock * packed_stride(dim);
}

/// What a query row sees of a span: slots in [begin, end) whose mask is not 0.
/// All counted from the start of the span.
struct Visible {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  const std::uint8_t* mask = nullptr;  // [slot]; null = no mask
};

/// Maximum of the scores (base 2) and sum of the weights relative to it.
/// The sum is 0 where, and only where, no slot was live.
struct SoftmaxSum {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

/// What stands in a run of elements.
struct Scan {
  std::int64_t nan = 0;
  std::int64_t inf = 0;
  bool nonzero = false;    // -0 is zero
  std::uint64_t hash = 0;  // of the bits and their number
  friend bool operator==(const Scan&, const Scan&) = default;
};

/// Weighted sums of values, [row, packed_stride(dim)] each.
struct Sums {
  float* out = nullptr;     // of whole blocks
  float* chains = nullptr;  // of the block that is being added up
};

/// The one NaN that finish() writes.
inline constexpr std::uint32_t kNaNBits = 0x7fc00000;

/// One implementation. Attention of query rows over one span of one key head
/// and value head is scores, softmax, values; spans are put together by merge
/// in ascending order, beginning with {-inf, 0} and zeros; finish divides.
struct Kernels {
  const char* name;

  /// Dot products of prescaled queries with keys.
  /// query: [row, packed_stride(dim)], +0 beyond dim.
  /// scores: [row, kScoreStride]; writes columns slots.begin up to slots.end
  /// rounded up to kLanes, where those beyond the end mean nothing.
  void (*scores)(const Rows& key, Slots slots, std::int64_t dim,
                 const float* query, std::int64_t rows, float* scores,
                 float* scratch);

  /// Turns the scores of one row into weights 2^(score - max), +0 for a slot
  /// that is not visible or whose score is -inf. With cap != 0 a score s is
  /// first replaced by tanh(s) * cap.
  SoftmaxSum (*softmax)(float* scores, Slots slots, const Visible& visible,
                        float cap);

  /// Adds to sums.out the weighted sums of values, block by block. A value
  /// whose weight is +0 is not looked at. A call may take part of a block:
  /// chains begin where slots.begin is a multiple of kBlock, and are added
  /// where slots.end is one or is `last`, the end of all slots of the span.
  /// weights: [row, kScoreStride].
  void (*values)(const Rows& value, Slots slots, std::int64_t last,
                 std::int64_t dim, const float* weights, std::int64_t rows,
                 const Sums& sums, float* scratch);

  /// Adds a span's sum (not 0) and values [dim] to the total of those before.
  void (*merge)(const SoftmaxSum& span, const float* values, std::int64_t dim,
                SoftmaxSum& total, float* out);

  /// out[d] /= sum; every NaN becomes kNaNBits.
  void (*finish)(float sum, std::int64_t dim, float* out);

  /// `count` elements, `stride` elements apart, as floats: exact but for f64,
  /// which is rounded once. A signalling f16 or f64 NaN becomes quiet.
  void (*widen)(const std::byte* data, Element element, std::int64_t stride,
                std::int64_t count, float* out);

  /// `count` codes times `scale`, each product rounded to `element`.
  void (*widen_codes)(const std::int8_t* codes, float scale, Element element,
                      std::int64_t count, float* out);

  /// Rounds once to nearest, ties to even; too large becomes Inf. NaN keeps
  /// its sign and upper payload and becomes quiet.
  void (*narrow_f32)(const float* data, std::int64_t count, Element element,
                     std::byte* out);
  void (*narrow_f64)(const double* data, std::int64_t count, Element element,
                     std::byte* out);

  Scan (*scan)(const std::byte* data, Element element, std::int64_t count);

  /// Three bytes as four characters of base64, `quads` times.
  void (*encode_base64)(const std::byte* bytes, std::size_t quads, char* out);

  /// Four characters as three bytes; false, and nothing of use in `out`, where
  /// one is not of the alphabet.
  bool (*decode_base64)(const char* text, std::size_t quads, std::byte* out);
};

/// The kernels in use: KVTAPE_KERNEL=scalar|avx2 if set, else the best that
/// the CPU has. Throws Error for an unknown name and for kernels that the CPU
/// cannot run.
const Kernels& active();

}  // namespace kvtape::kernels
