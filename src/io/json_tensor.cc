#include "io/json_tensor.h"

#include <algorithm>
#include <array>

#include "core/checked.h"
#include "io/axes_text.h"
#include "io/fields.h"
#include "io/list_text.h"
#include "io/number_scan.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kMostAxes = 8;

// Members of one step may stand in any order.
struct Member {
  std::string_view name;
  int step;
};
constexpr int kData = 8;
constexpr auto kMembers = std::to_array<Member>({
    {"dtype", 1},      {"shape", 2},      {"axes", 3},
    {"axis_names", 4}, {"attributes", 5}, {"quantization", 6},
    {"encoding", 6},   {"digest", 7},     {"nan_payloads", 7},
    {"count", 7},      {"min", 7},        {"max", 7},
    {"mean", 7},       {"std", 7},        {"zeros", 7},
    {"nan", 7},        {"inf", 7},        {"data", kData},
    {"scale", kData},  {"absmax", kData},
});

constexpr std::string_view kOrder =
    "the order is dtype, shape, axes, encoding, data: a document is read once, "
    "from its start";

int step_of(std::string_view name) {
  for (const Member& member : kMembers)
    if (member.name == name) return member.step;
  throw Error({.field = std::string(name),
               .text = "no member of a tensor",
               .hint = "attributes of a tensor stand in \"attributes\""});
}

[[noreturn]] void refuse(std::string_view name, std::string expected,
                         std::string found, std::string hint = "") {
  throw Error({.field = std::string(name),
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

const std::string& text_in(std::string_view name, const AttributeValue& value,
                           const char* expected = "a text") {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) refuse(name, expected, value_text(value));
  return *text;
}

// Words become one text with commas, as in the attributes of HDF5.
std::string words_of(std::string_view name,
                     const std::vector<AttributeValue>& list) {
  std::vector<std::string> words;
  for (const AttributeValue& item : list) {
    words.push_back(text_in(name, item, "a list of names"));
    if (words.back().find(',') != std::string::npos)
      refuse(name, "names without commas", value_text(item));
  }
  return joined_words(words);
}

JsonEncoding encoding_from(const std::string& word) {
  if (word == "none") return JsonEncoding::kNone;
  if (word == "summary") return JsonEncoding::kSummary;
  if (word == "numbers") return JsonEncoding::kNumbers;
  if (word == "base64") return JsonEncoding::kBase64;
  refuse("encoding", "\"none\", \"summary\", \"numbers\" or \"base64\"",
         "\"" + word + "\"");
}

}  // namespace

bool JsonTensor::may_hold(std::string_view name) const {
  return quantized_ && step_of(name) == kData;
}

bool JsonTensor::reads_elements(std::string_view name) const {
  return name == "data" && !quantized_;
}

void JsonTensor::check_encoding() const {
  if (!dtype_ || !sizes_ || !encoding_)
    throw Error(
        {.field = "data",
         .text = std::string("stands before its ") + (!dtype_   ? "dtype"
                                                      : !sizes_ ? "shape"
                                                                : "encoding"),
         .hint = std::string(kOrder)});
  if (*encoding_ == JsonEncoding::kNone || *encoding_ == JsonEncoding::kSummary)
    refuse("data", "no values with this encoding", "some",
           "the encodings with values are numbers and base64");
}

void JsonTensor::begin_member(std::string_view name) {
  // What was written is known when it has been written.
  const int step =
      name == "digest" ? std::max(step_of(name), reached_) : step_of(name);
  if (reads_elements(name)) check_encoding();
  if (step == kData && quantized_ ? encoding_.has_value()
                                  : name == "scale" || name == "absmax")
    refuse(name, "a part of a quantized tensor with values", "another place");
  if (step < reached_ || (step > 1 && !dtype_))
    throw Error({.field = std::string(name),
                 .text = "out of its order",
                 .hint = std::string(kOrder)});
  if (step > 2 && !sizes_)
    throw Error({.field = std::string(name),
                 .text = "stands before its shape",
                 .hint = std::string(kOrder)});
  reached_ = step;
  if (name == "data") has_data_ = true;
  if (name == "quantization") quantized_ = true;
}

void JsonTensor::set_sizes(const std::vector<AttributeValue>& list) {
  if (list.size() > kMostAxes)
    refuse("shape", "at most 8 axes", std::to_string(list.size()));
  std::vector<std::int64_t> sizes;
  for (const AttributeValue& item : list) {
    const auto* size = std::get_if<std::int64_t>(&item);
    if (size == nullptr || *size < 0)
      refuse("shape", "a list of sizes", value_text(item));
    sizes.push_back(*size);
  }
  const auto count = checked_product(sizes);
  if (!count || !checked_mul(*count, bytes_per_element(*dtype_)))
    refuse("shape", "a size that fits 63 bits", list_text(sizes));
  count_ = *count;
  sizes_ = std::move(sizes);
}

bool is_nan(std::uint64_t bits, DType dtype) {
  struct Float {
    DType dtype;
    std::uint64_t infinity;
  };
  constexpr auto kFloats = std::to_array<Float>({
      {DType::kF64, 0x7FF0000000000000},
      {DType::kF32, 0x7F800000},
      {DType::kF16, 0x7C00},
      {DType::kBF16, 0x7F80},
  });
  for (const Float& row : kFloats) {
    const std::uint64_t sign = std::uint64_t{1}
                               << (8 * bytes_per_element(dtype) - 1);
    if (row.dtype == dtype) return (bits & ~sign) > row.infinity;
  }
  return false;
}

// Pairs, one after the other: the number of an element, its bits.
void JsonTensor::set_payloads(const std::vector<AttributeValue>& list) {
  for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
    const auto* element = std::get_if<std::int64_t>(&list[i]);
    const std::int64_t next =
        nan_payloads_.empty() ? 0 : nan_payloads_.back().element + 1;
    if (element == nullptr || *element < next || *element >= count_)
      refuse("nan_payloads", "ascending numbers of elements",
             value_text(list[i]));
    const std::string& text = text_in("nan_payloads", list[i + 1]);
    NanPayload payload{.element = *element};
    if (!is_float(*dtype_) ||
        !set_nan_payload(*dtype_, text, payload.bits.data()))
      refuse("nan_payloads", "the bits of a NaN", "\"" + text + "\"");
    nan_payloads_.push_back(payload);
  }
}

void JsonTensor::set(std::string_view name, const AttributeValue& value) {
  if (name == "dtype") {
    dtype_ = dtype_from_name(text_in(name, value));
    if (!dtype_)
      refuse(name, "f64, f32, f16, bf16, i64, ..., u8 or bool",
             value_text(value));
  } else if (name == "encoding") {
    encoding_ = encoding_from(text_in(name, value));
  } else if (name == "digest") {
    digest_ = text_in(name, value);
  } else if (step_of(name) != 7 || name == "nan_payloads") {
    refuse(name, step_of(name) == kData ? "a tensor" : "a list or an object",
           value_text(value));
  }  // the others are a summary, for people
}

void JsonTensor::set_list(std::string_view name,
                          const std::vector<AttributeValue>& list) {
  if (name == "shape")
    set_sizes(list);
  else if (name == "axes")
    axes_ = words_of(name, list);
  else if (name == "axis_names")
    axis_names_ = words_of(name, list);
  else if (name == "nan_payloads")
    set_payloads(list);
  else
    refuse(name, "something else", "a list");
}

void JsonTensor::set_quantization(std::string_view name,
                                  const AttributeValue& value) {
  if (name == "scheme")
    scheme_ = text_in(name, value);
  else if (name != "block_size")
    refuse("quantization", "scheme and block_size", std::string(name));
  else if (const auto* size = std::get_if<std::int64_t>(&value))
    block_size_ = *size;
  else
    refuse(name, "an integer", value_text(value));
}

void JsonTensor::end() const {
  for (const auto& [missing, name] :
       {std::pair(!dtype_, "dtype"), std::pair(!sizes_, "shape"),
        std::pair(!encoding_ && !quantized_, "encoding")})
    if (missing) refuse(name, "a value", "nothing", std::string(kOrder));
  const bool has_values =
      encoding_ == JsonEncoding::kNumbers || encoding_ == JsonEncoding::kBase64;
  if (has_values && quantized_)
    refuse("encoding", "none or summary: codes and scales have their own",
           "another");
  if (has_values && !has_data_) refuse("data", "the values", "nothing");
  if (!nan_payloads_.empty() && encoding_ != JsonEncoding::kNumbers)
    refuse("nan_payloads", "the encoding numbers", "another");
}

Attributes JsonTensor::attributes() const {
  constexpr std::string_view kQuantizedAxes = "batch,position,head,dim";
  Attributes result;
  if (quantized_) {
    result.emplace_back("quantization", scheme_);
    if (block_size_) result.emplace_back("block_size", *block_size_);
    result.emplace_back("shape", *sizes_);
    result.emplace_back("dtype", std::string(name(*dtype_)));
  }
  if (!axes_.empty() && !(quantized_ && axes_ == kQuantizedAxes))
    result.emplace_back("axes", axes_);
  if (!axis_names_.empty()) result.emplace_back("axis_names", axis_names_);
  if (!digest_.empty()) result.emplace_back("digest", digest_);
  return result;
}

std::vector<JsonTensor::Part> JsonTensor::absent_parts() const {
  if (!quantized_ || !encoding_) return {};
  const std::int64_t row = sizes_->empty() ? 1 : sizes_->back();
  const std::int64_t block = scheme_ == "8bit" ? row : block_size_.value_or(0);
  const std::int64_t blocks = block > 0 ? count_ / block : 0;
  if (scheme_ == "8bit")
    return {{"data", DType::kI8, count_}, {"scale", *dtype_, blocks}};
  return {{"data", DType::kU8, count_ / 2 + count_ % 2},
          {"absmax", *dtype_, blocks}};
}

}  // namespace kvtape
