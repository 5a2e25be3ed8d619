#include "io/base64_source.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/box.h"
#include "io/base64.h"

namespace kvtape {
namespace {

constexpr std::int64_t kQuadBytes = 3;
constexpr std::int64_t kQuadCharacters = 4;

std::int64_t bytes_of(std::span<const std::int64_t> sizes, int size) {
  std::int64_t bytes = size;
  for (std::int64_t count : sizes) bytes *= count;
  return bytes;
}

}  // namespace

Base64Source::Base64Source(std::shared_ptr<const InputFile> input,
                           std::shared_ptr<const MappedFile> file,
                           std::int64_t text_at,
                           std::vector<std::int64_t> sizes,
                           int bytes_per_element, Storage storage)
    : FileSource(std::move(input)),
      file_(std::move(file)),
      sizes_(std::move(sizes)),
      bytes_per_element_(bytes_per_element),
      storage_(std::move(storage)) {
  const std::int64_t characters =
      base64_size(bytes_of(sizes_, bytes_per_element_));
  // It was longer when the text was read.
  if (text_at > std::ssize(file_->bytes()) - characters)
    refuse_changed(FileSource::input()->path());
  const std::span<const std::byte> text = file_->bytes().subspan(
      static_cast<std::size_t>(text_at), static_cast<std::size_t>(characters));
  text_ = {reinterpret_cast<const char*>(text.data()), text.size()};
}

void Base64Source::read(const Box& box, std::span<std::byte> out) const {
  check_box(box, sizes_, bytes_per_element_, out.size());
  if (out.empty()) return;
  for_each_row(sizes_, box, [&](std::int64_t first, std::int64_t count) {
    const auto bytes = static_cast<std::size_t>(count * bytes_per_element_);
    decode(first * bytes_per_element_, out.first(bytes));
    out = out.subspan(bytes);
  });
}

// Bytes from number `first` on, which may begin and end inside of quads.
void Base64Source::decode(std::int64_t first, std::span<std::byte> out) const {
  const auto copy_some = [&](std::int64_t quad, std::int64_t from,
                             std::int64_t count) {
    std::array<std::byte, kQuadBytes> bytes{};
    decode_quads(quad, 1, bytes.data());
    std::memcpy(out.data(), bytes.data() + from,
                static_cast<std::size_t>(count));
    out = out.subspan(static_cast<std::size_t>(count));
  };
  std::int64_t quad = first / kQuadBytes;
  if (const std::int64_t skipped = first % kQuadBytes; skipped != 0)
    copy_some(quad++, skipped, std::min(kQuadBytes - skipped, std::ssize(out)));
  const std::int64_t whole = std::ssize(out) / kQuadBytes;
  decode_quads(quad, whole, out.data());
  out = out.subspan(static_cast<std::size_t>(whole * kQuadBytes));
  if (!out.empty()) copy_some(quad + whole, 0, std::ssize(out));
}

// Each of them to three bytes, also where the last is padded.
void Base64Source::decode_quads(std::int64_t first, std::int64_t count,
                                std::byte* out) const {
  const std::string_view quads =
      text_.substr(static_cast<std::size_t>(first * kQuadCharacters),
                   static_cast<std::size_t>(count * kQuadCharacters));
  const std::int64_t bytes = count * kQuadBytes;
  const std::int64_t decoded =
      decode_base64(quads, {out, static_cast<std::size_t>(bytes)});
  const bool is_end = (first + count) * kQuadCharacters == std::ssize(text_);
  if (decoded < 0 || (decoded != bytes && !is_end))
    refuse_changed(input()->path());
}

}  // namespace kvtape
