// A driver that lets libhdf5 lay out a file without touching a disk: what it
// writes about the file stays in memory until our own code writes it.
// libhdf5 1.10 does not survive a write that fails.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <functional>
#include <map>
#include <span>

#include "hdf5/handle.h"

namespace kvtape {

/// A part of the file, and which bytes of it libhdf5 wrote: the others may
/// belong to data that is written past it.
struct LayoutPage {
  static constexpr std::size_t kBytes = 4096;
  std::array<std::byte, kBytes> bytes{};
  std::bitset<kBytes> written;
};

/// Shared with the driver for as long as the file is open.
struct LayoutState {
  /// Unless null, raw data is not kept: this becomes its address.
  haddr_t* wanted = nullptr;
  haddr_t end = 0;                      // bytes of the file
  std::map<haddr_t, LayoutPage> pages;  // by address
};

/// Creates an HDF5 file of the newest layout of this libhdf5, whose large
/// datasets begin at multiples of 4096. Throws Error.
DrivenFile create_layout(LayoutState& state);

/// Visits what libhdf5 wrote, after the file is closed: address and bytes.
void for_each_written(
    const LayoutState& state,
    const std::function<void(haddr_t, std::span<const std::byte>)>& visit);

}  // namespace kvtape
