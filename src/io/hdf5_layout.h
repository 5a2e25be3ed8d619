// A driver that lets libhdf5 lay out a file without touching a disk: what it
// writes about the file stays in memory until our own code writes it.
// libhdf5 1.10 does not survive a write that fails.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <exception>
#include <map>

#include "io/atomic_file.h"
#include "io/hdf5_handle.h"

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
  AtomicFile* out = nullptr;
  bool streams = false;                 // raw data goes to `out` at once
  std::exception_ptr failure;           // of `out`; libhdf5 was told nothing
  haddr_t end = 0;                      // bytes of the file
  std::map<haddr_t, LayoutPage> pages;  // by address
};

/// Creates an HDF5 file of the newest layout of this libhdf5, whose large
/// datasets begin at multiples of 4096. Requires an Hdf5Session.
DrivenFile create_layout(LayoutState& state);

/// Writes what stayed in memory, after the file is closed. Throws Error.
void write_layout(const LayoutState& state);

}  // namespace kvtape
