#include "hdf5/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/natural.h"
#include "hdf5/types.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kMostAttributes = 1024;    // of an object
constexpr std::size_t kLongestText = 64 * 1024;  // bytes
constexpr hssize_t kLongestList = 64 * 1024;     // elements
constexpr std::size_t kMostTexts = 1024;         // of a list
constexpr std::int64_t kCostOfOne = 256;         // bytes, a guess

struct Place {
  const std::string& object;
  const std::string& attribute;
};

[[noreturn]] void refuse(const Place& place, std::string expected,
                         std::string found) {
  throw Error({.object = place.object,
               .field = "attribute " + place.attribute,
               .expected = std::move(expected),
               .found = std::move(found)});
}

[[noreturn]] void fail_reading(const Place& place) {
  throw Error({.object = place.object,
               .field = "attribute " + place.attribute,
               .text = "cannot be read: " + hdf5_reason()});
}

void read_raw(hid_t attribute, hid_t type, void* out, const Place& place) {
  if (H5Aread(attribute, type, out) < 0) fail_reading(place);
}

std::string checked_text(std::string text, const Place& place) {
  if (text.size() > kLongestText)
    refuse(place, fmt::format("at most {} bytes", kLongestText),
           std::to_string(text.size()));
  return text;
}

// `count` texts of variable length, joined by commas.
std::string variable_text(hid_t attribute, hid_t type, hid_t space,
                          std::size_t count, const Place& place) {
  // Many may be the same long one, and libhdf5 takes memory for each.
  if (count > kMostTexts)
    refuse(place, fmt::format("at most {} texts", kMostTexts),
           std::to_string(count));
  std::vector<char*> texts(count, nullptr);
  read_raw(attribute, type, texts.data(), place);
  std::string joined;
  bool fits = true;
  for (std::size_t i = 0; i < count; ++i) {
    const char* text = texts[i] == nullptr ? "" : texts[i];
    if (i > 0) joined += ',';
    fits =
        fits && joined.size() + strnlen(text, kLongestText + 1) <= kLongestText;
    if (fits) joined += text;
  }
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts.data());
  if (!fits)
    refuse(place, fmt::format("at most {} bytes", kLongestText), "more");
  return joined;
}

// Padded with zeros or, by Fortran, with spaces.
std::string unpadded(const char* text, std::size_t bytes, hid_t type) {
  std::string result(text, strnlen(text, bytes));
  if (H5Tget_strpad(type) == H5T_STR_SPACEPAD)
    result.erase(result.find_last_not_of(' ') + 1);
  return result;
}

std::string fixed_text(hid_t attribute, hid_t type, std::size_t count,
                       const Place& place) {
  const std::size_t bytes = H5Tget_size(type);
  if (bytes > kLongestText || bytes * count > 16 * kLongestText)
    refuse(place, fmt::format("at most {} bytes", kLongestText),
           std::to_string(bytes * count));
  std::vector<char> buffer(bytes * count);
  read_raw(attribute, type, buffer.data(), place);
  std::string joined;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) joined += ',';
    joined += unpadded(buffer.data() + i * bytes, bytes, type);
  }
  return checked_text(std::move(joined), place);
}

AttributeValue text_value(hid_t attribute, hid_t type, hid_t space,
                          std::size_t count, const Place& place) {
  if (H5Tis_variable_str(type) > 0)
    return variable_text(attribute, type, space, count, place);
  return fixed_text(attribute, type, count, place);
}

bool is_unsigned(DType dtype) {
  return dtype == DType::kU64 || dtype == DType::kU32 || dtype == DType::kU16 ||
         dtype == DType::kU8;
}

AttributeValue number_value(hid_t attribute, DType dtype, const Place& place) {
  if (is_float(dtype)) {
    double value = 0;
    read_raw(attribute, H5T_NATIVE_DOUBLE, &value, place);
    return value;
  }
  if (dtype == DType::kBool) {
    std::int8_t value = 0;
    const Handle type = file_type(DType::kBool);
    read_raw(attribute, type.get(), &value, place);
    return value != 0;
  }
  if (is_unsigned(dtype)) {
    std::uint64_t value = 0;
    read_raw(attribute, H5T_NATIVE_UINT64, &value, place);
    return value;
  }
  std::int64_t value = 0;
  read_raw(attribute, H5T_NATIVE_INT64, &value, place);
  return value;
}

AttributeValue list_value(hid_t attribute, DType dtype, std::size_t count,
                          const Place& place) {
  if (is_float(dtype) || dtype == DType::kBool)
    refuse(place, "one number, or a list of integers",
           fmt::format("a list of {}", name(dtype)));
  std::vector<std::int64_t> values(count);
  if (dtype == DType::kU64) {
    std::vector<std::uint64_t> wide(count);
    read_raw(attribute, H5T_NATIVE_UINT64, wide.data(), place);
    for (std::uint64_t value : wide)
      if (value > std::numeric_limits<std::int64_t>::max())
        refuse(place, "integers below 2^63", std::to_string(value));
  }
  read_raw(attribute, H5T_NATIVE_INT64, values.data(), place);
  return values;
}

AttributeValue value_of(hid_t attribute, const Place& place) {
  const Handle space(H5Aget_space(attribute), H5Sclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  if (!space || !type) fail_reading(place);
  // Kept as a number: libhdf5 hands on what the file says, enumerator or not.
  const int shape = H5Sget_simple_extent_type(space.get());
  if (shape == H5S_NULL) return NoValue{};
  if (shape != H5S_SCALAR && shape != H5S_SIMPLE)
    refuse(place, "one value, a list or None", "a shape of an unknown kind");
  const int rank = H5Sget_simple_extent_ndims(space.get());
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (rank > 1 || count < 0 || count > kLongestList)
    refuse(place, fmt::format("one value, or at most {}", kLongestList),
           fmt::format("{} axes, {} values", rank, count));
  const auto values = static_cast<std::size_t>(count);
  if (H5Tget_class(type.get()) == H5T_STRING)
    return text_value(attribute, type.get(), space.get(), values, place);
  const auto element = element_type(type.get());
  if (!element || H5Tget_class(type.get()) == H5T_OPAQUE)
    refuse(place, "a number, a bool, text, integers or None",
           type_text(type.get()));
  return rank == 0 ? number_value(attribute, element->dtype, place)
                   : list_value(attribute, element->dtype, values, place);
}

std::int64_t cost_of(const AttributeValue& value) {
  std::int64_t bytes = kCostOfOne;
  if (const auto* text = std::get_if<std::string>(&value))
    bytes += std::ssize(*text);
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value))
    bytes += 8 * std::ssize(*list);
  return bytes;
}

herr_t add_name(hid_t, const char* name, const H5A_info_t*, void* data) {
  auto& names = *static_cast<std::vector<std::string>*>(data);
  names.emplace_back(name);
  return names.size() > kMostAttributes ? -1 : 0;
}

std::vector<std::string> names_of(hid_t object, const std::string& path) {
  std::vector<std::string> names;
  const herr_t done = H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE,
                                  nullptr, add_name, &names);
  if (names.size() > kMostAttributes)
    throw Error({.object = path,
                 .field = "attributes",
                 .expected = fmt::format("at most {}", kMostAttributes),
                 .found = "more"});
  if (done < 0)
    throw Error({.object = path,
                 .text = "attributes cannot be read: " + hdf5_reason()});
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

// ---- writing

Handle scalar() { return Handle(H5Screate(H5S_SCALAR), H5Sclose); }

void write_raw(hid_t object, const std::string& name, const Handle& type,
               const Handle& space, const void* value) {
  const Handle attribute(H5Acreate2(object, name.c_str(), type.get(),
                                    space.get(), H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  if (!attribute ||
      (value != nullptr && H5Awrite(attribute.get(), type.get(), value) < 0))
    throw Error({.field = "attribute " + name,
                 .text = "cannot be written: " + hdf5_reason()});
}

struct Writer {
  hid_t object;
  const std::string& name;

  template <typename T>
  void number(DType dtype, T value) const {
    write_raw(object, name, file_type(dtype), scalar(), &value);
  }

  void operator()(NoValue) const {
    write_raw(object, name, file_type(DType::kI64),
              Handle(H5Screate(H5S_NULL), H5Sclose), nullptr);
  }
  void operator()(bool value) const {
    number(DType::kBool, static_cast<std::int8_t>(value));
  }
  void operator()(std::int64_t value) const { number(DType::kI64, value); }
  void operator()(std::uint64_t value) const { number(DType::kU64, value); }
  void operator()(double value) const { number(DType::kF64, value); }
  void operator()(const std::string& value) const {
    // Of variable length, as h5py writes str and reads it back as str.
    Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    const char* text = value.c_str();
    write_raw(object, name, type, scalar(), &text);
  }
  void operator()(const std::vector<std::int64_t>& values) const {
    const hsize_t count = values.size();
    write_raw(object, name, file_type(DType::kI64),
              Handle(H5Screate_simple(1, &count, nullptr), H5Sclose),
              values.data());
  }
};

}  // namespace

Attributes read_attributes(hid_t object, const std::string& path,
                           std::int64_t& budget) {
  Attributes result;
  for (const std::string& name : names_of(object, path)) {
    const Place place{path, name};
    const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT),
                           H5Aclose);
    if (!attribute) fail_reading(place);
    result.emplace_back(name, value_of(attribute.get(), place));
    budget -= cost_of(result.back().second);
    if (budget < 0) refuse(place, "64 MiB of attributes in the file", "more");
  }
  return result;
}

void write_attribute(hid_t object, const std::string& name,
                     const AttributeValue& value) {
  std::visit(Writer{object, name}, value);
}

}  // namespace kvtape
