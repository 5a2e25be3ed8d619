// Faults planted in a tape, one function each; flaw.cc lists them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

// What faults go into: one layer in the middle of the tape. Each throws Error
// where the tape has no such thing.
LayerCache& damaged_layer(Tape& tape);
LayerTrace& damaged_trace(Tape& tape);

/// The tensor, which is recorded and not quantized.
const Tensor& plain(const std::optional<Tensor>& tensor);

/// Slots of row 0 that hold real positions, by position.
std::vector<std::int64_t> live_slots(const LayerCache& layer,
                                     std::size_t at_least);

/// The axes in the order in which doubles() gives the elements.
std::vector<Axis> canonical_axes(const Tensor& tensor);

[[noreturn]] void refuse_flaw(const std::string& expected,
                              const std::string& found);

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(T));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

// In keys and values (flaw_values.cc).
void plant_nan(Tape& tape);
void plant_inf(Tape& tape);
void plant_zero(Tape& tape);
void plant_repeat(Tape& tape);
void plant_stale(Tape& tape);
void plant_shift(Tape& tape);
void plant_head_swap(Tape& tape);
void plant_shape(Tape& tape);
void plant_dtype(Tape& tape);
void plant_final(Tape& tape);

}  // namespace kvtape
