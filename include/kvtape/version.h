// Versions of the library and of the file format.
#pragma once

namespace kvtape {

inline constexpr const char* kVersion = "0.1.0";
inline constexpr int kFormatVersion = 1;

}  // namespace kvtape
