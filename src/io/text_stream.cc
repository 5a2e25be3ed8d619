#include "io/text_stream.h"

#include <algorithm>
#include <cstring>

namespace kvtape {
namespace {

TextPlace moved(TextPlace place, std::string_view over) {
  // Lines may be as long as a tensor; memrchr() passes over them fast.
  const auto* last =
      static_cast<const char*>(memrchr(over.data(), '\n', over.size()));
  if (last == nullptr) {
    place.column += std::ssize(over);
    return place;
  }
  place.line += std::count(over.begin(), over.end(), '\n');
  place.column = over.data() + over.size() - last;
  return place;
}

}  // namespace

TextStream::TextStream(ReadBytes read, std::optional<std::int64_t> size,
                       std::size_t block_bytes)
    : read_(std::move(read)),
      size_(size),
      block_bytes_(block_bytes),
      buffer_(std::make_unique_for_overwrite<char[]>(block_bytes)) {}

void TextStream::drop_skipped() {
  if (begin_ == 0) return;
  start_ = moved(start_, {buffer_.get(), begin_});
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  dropped_ += static_cast<std::int64_t>(begin_);
  end_ -= begin_;
  begin_ = 0;
}

bool TextStream::more() {
  if (ended_) return false;
  drop_skipped();
  if (end_ == block_bytes_) return false;
  const std::size_t got = read_({buffer_.get() + end_, block_bytes_ - end_});
  end_ += got;
  ended_ = got == 0;
  return !ended_;
}

bool TextStream::skip_blanks() {
  while (!at_end()) {
    const std::string_view text = ahead();
    const std::size_t blanks = text.find_first_not_of(" \t\r\n");
    skip(std::min(blanks, text.size()));
    if (blanks != text.npos) return true;
  }
  return false;
}

std::optional<std::int64_t> TextStream::left() const {
  if (!size_) return {};
  return std::max<std::int64_t>(*size_ - position(), 0);
}

TextPlace TextStream::place(std::size_t after) const {
  return moved(start_, {buffer_.get(), begin_ + after});
}

}  // namespace kvtape
