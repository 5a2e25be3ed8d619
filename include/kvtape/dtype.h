// Element types of stored tensors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvtape {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,  // one byte, 0 or 1
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // as printed and as read from the command line
  int bytes;              // per element
  bool is_float;
};

inline constexpr std::array<DTypeInfo, 13> kDTypes{{
    {DType::kF64, "f64", 8, true},
    {DType::kF32, "f32", 4, true},
    {DType::kF16, "f16", 2, true},
    {DType::kBF16, "bf16", 2, true},
    {DType::kI64, "i64", 8, false},
    {DType::kI32, "i32", 4, false},
    {DType::kI16, "i16", 2, false},
    {DType::kI8, "i8", 1, false},
    {DType::kU64, "u64", 8, false},
    {DType::kU32, "u32", 4, false},
    {DType::kU16, "u16", 2, false},
    {DType::kU8, "u8", 1, false},
    {DType::kBool, "bool", 1, false},
}};

inline constexpr DType kLastDType = kDTypes.back().dtype;

constexpr const DTypeInfo& info(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)];
}
constexpr std::string_view name(DType dtype) { return info(dtype).name; }
constexpr int bytes_per_element(DType dtype) { return info(dtype).bytes; }
constexpr bool is_float(DType dtype) { return info(dtype).is_float; }

/// The dtype of that name, or nothing.
std::optional<DType> dtype_from_name(std::string_view name);

}  // namespace kvtape
