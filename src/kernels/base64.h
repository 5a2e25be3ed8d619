// Bytes as base64 characters (RFC 4648), whole quads of them: no padding.
#pragma once

#include <cstddef>
#include <string_view>

namespace kvtape::kernels {

inline constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Kernels::encode_base64 and Kernels::decode_base64.
void scalar_encode_base64(const std::byte* bytes, std::size_t quads, char* out);
bool scalar_decode_base64(const char* text, std::size_t quads, std::byte* out);

}  // namespace kvtape::kernels
