// Text that is read once from its start to its end, a block at a time: the
// same for a file and for a pipe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace kvtape {

/// Where somebody finds a byte again in an editor; both count from 1.
struct TextPlace {
  std::int64_t line = 1;
  std::int64_t column = 1;  // in bytes
};

class TextStream {
 public:
  /// Fills some of `out`; returns how many bytes, 0 at the end. Throws Error.
  using ReadBytes = std::function<std::size_t(std::span<char> out)>;

  static constexpr std::size_t kBlockBytes = std::size_t{512} << 10;

  /// `size` is how many bytes a file has, which can be read again.
  explicit TextStream(ReadBytes read, std::optional<std::int64_t> size = {},
                      std::size_t block_bytes = kBlockBytes);

  /// What has been read and not been skipped.
  std::string_view ahead() const {
    return {buffer_.get() + begin_, end_ - begin_};
  }

  /// Reads on behind what is ahead; false at the end of the text, and where a
  /// whole block is ahead already.
  bool more();

  std::size_t block_bytes() const { return block_bytes_; }

  /// Is nothing left? Reads on to know.
  bool at_end() { return begin_ == end_ && !more(); }

  /// Requires that as many bytes are ahead.
  void skip(std::size_t bytes) { begin_ += bytes; }

  /// Skips blanks and line breaks; false where the text ends behind them.
  bool skip_blanks();

  /// Bytes that are left, where that is known.
  std::optional<std::int64_t> left() const;

  std::int64_t position() const {
    return dropped_ + static_cast<std::int64_t>(begin_);
  }
  /// Of the byte `after` bytes behind the first one ahead.
  TextPlace place(std::size_t after = 0) const;

 private:
  void drop_skipped();

  ReadBytes read_;
  std::optional<std::int64_t> size_;
  std::size_t block_bytes_;
  // Not filled: a short text touches little of it.
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
  std::int64_t dropped_ = 0;  // bytes before the buffer
  TextPlace start_;           // of the buffer
};

}  // namespace kvtape
