// A JSON array of numbers read straight into the elements of a tensor, from
// text that may come in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kvtape/dtype.h"

namespace kvtape {

/// Reads what append_numbers() writes, and any other JSON numbers that stand
/// for exactly one element: text of at most 17 (f64), 9 (f32), 5 (f16) or 4
/// (bf16) significant digits is rounded once to nearest; longer text must be
/// exactly an element as f64. What overflows, or becomes 0 without being 0, is
/// refused, as are integers outside their dtype.
class NumberScan {
 public:
  /// `out` has exactly the bytes of the elements, which are written as they
  /// come. Reading begins after the array's '['.
  NumberScan(DType dtype, std::span<std::byte> out);

  /// The same where the elements, `count` in all, are kept elsewhere: those
  /// that come next go to `out`, which has room for half as many as the text
  /// that is fed has bytes, and one more.
  NumberScan(DType dtype, std::int64_t count);
  void write_to(std::span<std::byte> out);

  /// Reads on. Returns how much of the text was used: up to and with the ']',
  /// else up to the last value that is surely whole; the rest has to be given
  /// again with what follows. `final` says that nothing follows.
  /// Throws Error with field "data[12]", expected and found.
  std::size_t feed(std::string_view text, bool final);

  bool done() const { return state_ == State::kDone; }
  std::int64_t elements() const { return next_; }  // read so far

  /// Where in the text that was fed an Error was thrown.
  std::size_t fault(std::string_view text) const {
    return static_cast<std::size_t>(value_ - text.data());
  }

  struct Token;

 private:
  enum class State : std::uint8_t { kFirst, kValue, kComma, kDone };

  void read_number(const Token& token, std::byte* to) const;
  const char* read_short(const char* at, const char* end);
  const char* read_value(const char* at, const char* end);
  std::byte* place() const;  // of the next element
  [[noreturn]] void refuse(std::string expected, std::string_view found,
                           std::string_view why = {}) const;
  void check_count() const;

  DType dtype_;
  std::span<std::byte> out_;
  std::int64_t first_ = 0;  // the element at the start of out_
  std::int64_t count_ = 0;
  std::int64_t next_ = 0;
  const char* value_ = nullptr;  // what is being read
  State state_ = State::kFirst;
};

/// Elements from the hex digits of "nan_payloads".
/// Returns false where the text is no NaN of the dtype.
bool set_nan_payload(DType dtype, std::string_view hex, std::byte* element);

}  // namespace kvtape
