// Numbers, texts and bytes in messages between two processes of one machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvtape {

class WireWriter {
 public:
  void number(std::int64_t value);
  void real(double value);
  void text(std::string_view text);
  void bytes(std::span<const std::byte> bytes);
  void list(std::span<const std::int64_t> numbers);

  std::span<const std::byte> data() const { return data_; }

 private:
  std::vector<std::byte> data_;
};

/// Trusts nothing: each throws Error where the bytes do not hold it.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> data) : data_(data) {}

  std::int64_t number();
  std::int64_t number(std::int64_t least, std::int64_t most);
  double real();
  std::string text();
  std::vector<std::byte> bytes();
  std::vector<std::int64_t> list();
  void end() const;  // nothing is left

 private:
  std::span<const std::byte> take(std::uint64_t bytes);

  std::span<const std::byte> data_;
};

}  // namespace kvtape
