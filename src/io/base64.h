// Bytes as base64 text (RFC 4648, padded).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kvtape {

/// Characters for that many bytes, padding included.
constexpr std::int64_t base64_size(std::int64_t bytes) {
  return (bytes + 2) / 3 * 4;
}

/// Appends the text of `bytes`. Pieces of a longer run must be multiples of
/// three bytes, all but the last.
void append_base64(std::span<const std::byte> bytes, std::string& out);

/// Decodes whole quads to `out`, which has three bytes for each; returns how
/// many bytes they are, fewer where the last one is padded. Nothing but the
/// alphabet is accepted, padding at the end alone, and no bits left over.
/// Returns -1 for anything else.
std::int64_t decode_base64(std::string_view text, std::span<std::byte> out);

}  // namespace kvtape
