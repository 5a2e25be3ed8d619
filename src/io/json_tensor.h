// The members of a tensor in a document of JSON, man/kvtape-json.5: which may
// stand where, and what they say.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/stored_object.h"

namespace kvtape {

/// A NaN other than the usual one.
struct NanPayload {
  std::int64_t element = 0;         // its number in C order
  std::array<std::byte, 8> bits{};  // of f64; others take less
};

/// Are these the bits of a NaN? Of no other dtype than floats.
bool is_nan(std::uint64_t bits, DType dtype);

/// How the values are spelled.
enum class JsonEncoding : std::uint8_t { kNone, kSummary, kNumbers, kBase64 };

class JsonTensor {
 public:
  /// A member begins. Throws Error where it is unknown, out of its order, or
  /// needs what has not been said.
  void begin_member(std::string_view name);

  /// Its value, for members that are no objects and no data. Throws Error.
  void set(std::string_view name, const AttributeValue& value);
  void set_list(std::string_view name, const std::vector<AttributeValue>& list);
  void set_quantization(std::string_view name, const AttributeValue& value);

  /// The members are all there. Throws Error where one is missing.
  void end() const;

  /// Are the values of a member to be read as the tensor's elements?
  bool reads_elements(std::string_view name) const;

  /// May a member's value be an object: a part of a quantized tensor?
  bool may_hold(std::string_view name) const;

  bool quantized() const { return quantized_; }
  DType dtype() const { return *dtype_; }
  const std::vector<std::int64_t>& sizes() const { return *sizes_; }
  std::int64_t count() const { return count_; }  // elements
  JsonEncoding encoding() const { return *encoding_; }
  const std::vector<NanPayload>& nan_payloads() const { return nan_payloads_; }

  /// What it says besides elements, as attributes of a dataset, or of the group
  /// that a quantized tensor is.
  Attributes attributes() const;

  /// The parts of a quantized tensor that is there without values.
  struct Part {
    const char* name;
    DType dtype;
    std::int64_t count;  // elements
  };
  std::vector<Part> absent_parts() const;

 private:
  void set_sizes(const std::vector<AttributeValue>& list);
  void set_payloads(const std::vector<AttributeValue>& list);
  void check_encoding() const;

  int reached_ = 0;  // in the order of members
  std::optional<DType> dtype_;
  std::optional<std::vector<std::int64_t>> sizes_;
  std::int64_t count_ = 0;
  std::string axes_;
  std::string axis_names_;
  std::string digest_;
  bool quantized_ = false;
  std::string scheme_;
  std::optional<std::int64_t> block_size_;
  std::optional<JsonEncoding> encoding_;
  bool has_data_ = false;
  std::vector<NanPayload> nan_payloads_;
};

}  // namespace kvtape
