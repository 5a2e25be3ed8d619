#include "hdf5/types.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace kvtape {
namespace {

// IEEE-like floats, by exact fields: a float of 24 bits is none of them.
struct FloatLayout {
  DType dtype;
  std::size_t bytes;
  std::size_t exponent_bits;
  std::size_t fraction_bits;
  std::size_t bias;
};
constexpr auto kFloats = std::to_array<FloatLayout>({
    {DType::kF64, 8, 11, 52, 1023},
    {DType::kF32, 4, 8, 23, 127},
    {DType::kF16, 2, 5, 10, 15},
    {DType::kBF16, 2, 8, 7, 127},
});

struct IntegerLayout {
  DType dtype;
  std::size_t bytes;
  H5T_sign_t sign;
};
constexpr auto kIntegers = std::to_array<IntegerLayout>({
    {DType::kI64, 8, H5T_SGN_2},
    {DType::kI32, 4, H5T_SGN_2},
    {DType::kI16, 2, H5T_SGN_2},
    {DType::kI8, 1, H5T_SGN_2},
    {DType::kU64, 8, H5T_SGN_NONE},
    {DType::kU32, 4, H5T_SGN_NONE},
    {DType::kU16, 2, H5T_SGN_NONE},
    {DType::kU8, 1, H5T_SGN_NONE},
});

bool fills_its_bytes(hid_t type) {
  return H5Tget_precision(type) == 8 * H5Tget_size(type) &&
         H5Tget_offset(type) == 0;
}

bool matches(hid_t type, const FloatLayout& layout) {
  std::size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 0,
              fraction_bits = 0;
  return H5Tget_size(type) == layout.bytes &&
         H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction,
                       &fraction_bits) >= 0 &&
         sign == 8 * layout.bytes - 1 && exponent == layout.fraction_bits &&
         exponent_bits == layout.exponent_bits && fraction == 0 &&
         fraction_bits == layout.fraction_bits &&
         H5Tget_ebias(type) == layout.bias &&
         H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

std::optional<DType> float_dtype(hid_t type) {
  for (const FloatLayout& layout : kFloats)
    if (matches(type, layout)) return layout.dtype;
  return {};
}

std::optional<DType> integer_dtype(hid_t type) {
  for (const IntegerLayout& layout : kIntegers)
    if (H5Tget_size(type) == layout.bytes && H5Tget_sign(type) == layout.sign)
      return layout.dtype;
  return {};
}

bool member_is(hid_t type, unsigned number, const char* word) {
  char* name = H5Tget_member_name(type, number);
  std::int8_t value = -1;
  const bool same = name != nullptr && std::strcmp(name, word) == 0 &&
                    H5Tget_member_value(type, number, &value) >= 0 &&
                    value == static_cast<std::int8_t>(number);
  if (name != nullptr) H5free_memory(name);
  return same;
}

// h5py's bool: an enum over int8 with FALSE = 0 and TRUE = 1.
bool is_bool(hid_t type) {
  return H5Tget_size(type) == 1 && H5Tget_nmembers(type) == 2 &&
         member_is(type, 0, "FALSE") && member_is(type, 1, "TRUE");
}

std::optional<ElementType> number_type(hid_t type, std::optional<DType> dtype) {
  const H5T_order_t order = H5Tget_order(type);
  if (!dtype || !fills_its_bytes(type)) return {};
  if (order != H5T_ORDER_LE && order != H5T_ORDER_BE) return {};
  return ElementType{*dtype,
                     order == H5T_ORDER_BE && bytes_per_element(*dtype) > 1};
}

Handle bf16_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), 15, 7, 8, 0, 7);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 127);
  return type;
}

Handle bool_type() {
  Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  constexpr std::int8_t kFalse = 0;
  constexpr std::int8_t kTrue = 1;
  H5Tenum_insert(type.get(), "FALSE", &kFalse);
  H5Tenum_insert(type.get(), "TRUE", &kTrue);
  return type;
}

Handle f16_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 15);
  return type;
}

hid_t standard_type(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return H5T_IEEE_F64LE;
    case DType::kF32:
      return H5T_IEEE_F32LE;
    case DType::kI64:
      return H5T_STD_I64LE;
    case DType::kI32:
      return H5T_STD_I32LE;
    case DType::kI16:
      return H5T_STD_I16LE;
    case DType::kI8:
      return H5T_STD_I8LE;
    case DType::kU64:
      return H5T_STD_U64LE;
    case DType::kU32:
      return H5T_STD_U32LE;
    case DType::kU16:
      return H5T_STD_U16LE;
    default:
      return H5T_STD_U8LE;
  }
}

}  // namespace

std::optional<ElementType> element_type(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      return number_type(type, float_dtype(type));
    case H5T_INTEGER:
      return number_type(type, integer_dtype(type));
    case H5T_ENUM:
      if (is_bool(type)) return ElementType{DType::kBool, false};
      return {};
    case H5T_OPAQUE:
      if (H5Tget_size(type) == 2) return ElementType{DType::kBF16, false};
      return {};
    default:
      return {};
  }
}

std::string type_text(hid_t type) {
  if (const auto element = element_type(type))
    return std::string(name(element->dtype));
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      return fmt::format("a float of {} bits of its own kind", bits);
    case H5T_INTEGER:
      return fmt::format("an integer of {} bits, {} of them used", bits,
                         H5Tget_precision(type));
    case H5T_STRING:
      return "text";
    case H5T_COMPOUND:
      return "a compound";
    case H5T_REFERENCE:
      return "a reference";
    case H5T_ENUM:
      return "an enum";
    case H5T_VLEN:
      return "lists of varying length";
    case H5T_ARRAY:
      return "arrays";
    case H5T_OPAQUE:
      return fmt::format("opaque elements of {} bytes", bits / 8);
    default:
      return "an unknown type";
  }
}

Handle file_type(DType dtype) {
  if (dtype == DType::kBF16) return bf16_type();
  if (dtype == DType::kF16) return f16_type();
  if (dtype == DType::kBool) return bool_type();
  return Handle(H5Tcopy(standard_type(dtype)), H5Tclose);
}

}  // namespace kvtape
