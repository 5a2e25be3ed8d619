// How validate looks at stored values: which slots count, and what stands in
// a slot.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/slab.h"
#include "kernels/kernels.h"
#include "kvtape/tape.h"

namespace kvtape {

/// What a slot of a row is good for.
enum class SlotClass : std::uint8_t {
  kLive,    // in [starts, index), and no mask hides it
  kMasked,  // in that range or before it, but hidden by a mask or a pad token
  kPad,     // before starts, with no mask that hides it
  kDead,    // at or beyond index, or empty
};

/// index and starts of a layer, one number per row; absent where not sound.
struct RowMarks {
  explicit RowMarks(const LayerCache& layer);
  std::optional<std::vector<std::int64_t>> index;
  std::optional<std::vector<std::int64_t>> starts;
};

/// Slots [first, first + count) of one row.
struct SlotRange {
  std::int64_t row = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// What a slot is good for, and the position it holds (-1: none).
struct SlotUse {
  SlotClass slot_class = SlotClass::kDead;
  std::int64_t position = -1;
};

/// Of some slots. An absent index means that all may be live.
std::vector<SlotUse> uses_of(const Tape& tape, const LayerCache& layer,
                             const RowMarks& marks, SlotRange range);

/// The classes alone.
std::vector<SlotClass> classes_of(const Tape& tape, const LayerCache& layer,
                                  const RowMarks& marks, SlotRange range);

/// Looks at the slots of a range of positions, in bounded memory: in place
/// where a slot's elements lie together, else packed.
class SlotScanner {
 public:
  SlotScanner();

  /// Positions (or tokens) [first, first + count) of a row.
  void load(const Tensor& tensor, std::int64_t row, std::int64_t first,
            std::int64_t count);

  /// Counts, zero and hash of a slot of the range, counted from its start. Of
  /// a quantized one the codes and scales are hashed; nan and inf stay 0.
  kernels::Scan slot(std::int64_t position) const;

  bool head_is_zero(std::int64_t position, std::int64_t head) const;

  /// The first element of a slot [head, dim] that is NaN, or infinite.
  /// Requires an unquantized tensor and that there is one.
  std::int64_t first_nan(std::int64_t position) const;
  std::int64_t first_inf(std::int64_t position) const;

 private:
  void load_floats(const SlabView& view);
  void load_codes(std::int64_t first_slot, std::int64_t count);
  kernels::Scan element(std::int64_t at) const;
  bool codes_are_zero(std::int64_t first, std::int64_t count) const;

  const kernels::Kernels& kernels_;
  SlabReader reader_;
  std::vector<std::byte> packed_;
  std::vector<std::byte> scales_;
  const Tensor* tensor_ = nullptr;
  const std::byte* data_ = nullptr;  // of the range; quantized: its codes
  const std::byte* scale_data_ = nullptr;
  std::int64_t heads_ = 0;
  std::int64_t dims_ = 0;
};

/// A tensor whose slots can be looked at one by one: floats, or a sound
/// quantized form whose slots share no block and no byte.
bool has_separate_slots(const Tensor& tensor);

/// How many positions to load at once.
std::int64_t positions_per_load(const Tensor& tensor);

/// Whether the counts and bytes of codes and scales are those of the shape.
bool is_sound(const Quantization& quantization, const Tensor& tensor);

/// Calls visit(first, bytes) for consecutive runs of a source's elements, in C
/// order of its memory axes; `sizes` are those of these axes.
void for_each_run(
    const SlabSource& source, const std::vector<std::int64_t>& sizes,
    int bytes_per_element,
    const std::function<void(std::int64_t first,
                             std::span<const std::byte> bytes)>& visit);

}  // namespace kvtape
