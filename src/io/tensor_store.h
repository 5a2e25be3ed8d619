// The bytes of tensors that are read once, one after the other, and kept: in
// memory, and where they are many in a temporary file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvtape {

class TensorStore {
 public:
  static constexpr std::size_t kMostInMemory = std::size_t{64} << 20;

  explicit TensorStore(std::size_t most_in_memory = kMostInMemory)
      : most_in_memory_(most_in_memory) {}
  ~TensorStore();
  TensorStore(const TensorStore&) = delete;
  TensorStore& operator=(const TensorStore&) = delete;

  /// Throws Error when the temporary file cannot be written.
  void append(std::span<const std::byte> bytes);

  /// Pads, so that what comes next can be read fast.
  void align();

  std::int64_t size() const { return size_; }

  /// No more is appended. Throws Error.
  void finish();
  /// All of it, after finish().
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void write(std::span<const std::byte> bytes);

  std::size_t most_in_memory_;
  std::vector<std::byte> memory_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace kvtape
