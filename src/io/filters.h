// HDF5's filters in our own code: libhdf5 1.10 takes chunks that are too short
// for whole ones, and fills the rest from the heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/stored_object.h"

namespace kvtape {

/// Undoes the filters of a chunk of `bytes`. Bit i of `skipped`: filter i was
/// not applied. `chunk` is what is stored and becomes the chunk, `scratch` is
/// used up: the two may have changed places. Returns what is wrong, or nothing.
std::string decode_chunk(const std::vector<StoredFilter>& filters,
                         std::uint32_t skipped, std::size_t bytes,
                         std::vector<std::byte>& chunk,
                         std::vector<std::byte>& scratch);

/// Applies shuffle, deflate and fletcher32 in this order; the result replaces
/// `chunk`. Returns which filter was skipped, as a bit: deflate, where it
/// does not make the chunk smaller.
std::uint32_t encode_chunk(int bytes_per_element, int level,
                           std::vector<std::byte>& chunk,
                           std::vector<std::byte>& scratch);

/// HDF5's checksum: 16-bit words, big-endian, sums modulo 65535.
std::uint32_t fletcher32(std::span<const std::byte> data);

/// All first bytes of the elements, then all second ones, ...; and back. A rest
/// shorter than an element stays at the end.
void shuffle(std::span<const std::byte> in, std::size_t bytes_per_element,
             std::span<std::byte> out);
void unshuffle(std::span<const std::byte> in, std::size_t bytes_per_element,
               std::span<std::byte> out);

/// Reverses the bytes of every element, in place.
void swap_bytes(std::span<std::byte> data, int bytes_per_element);

}  // namespace kvtape
