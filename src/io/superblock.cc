// Layout: the HDF5 file format specification, "Superblock", versions 0 to 3.
#include "io/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "kvtape/error.h"

namespace kvtape {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n"sv;
constexpr std::size_t kLongest = 96;  // bytes of the longest superblock

using Head = std::array<std::byte, kLongest>;

std::string_view text_of(const Head& head) {
  return {reinterpret_cast<const char*>(head.data()), head.size()};
}

// Bytes from `offset` on; zeros where the file ends.
Head head_at(const InputFile& file, std::int64_t offset) {
  Head head{};
  const std::int64_t left = std::max<std::int64_t>(file.size() - offset, 0);
  const auto count = std::min(static_cast<std::size_t>(left), head.size());
  if (!file.read(offset, std::span(head).first(count)))
    throw Error({.file = file.path(), .text = "cannot be read"});
  return head;
}

// The signature may stand at 0, 512, 1024, 2048, ...: a user block is before.
std::optional<std::int64_t> find_signature(const InputFile& file) {
  for (std::int64_t at = 0; at < file.size(); at = at == 0 ? 512 : at * 2)
    if (text_of(head_at(file, at)).starts_with(kSignature)) return at;
  return {};
}

struct Lookalike {
  std::string_view start;
  std::size_t at;
  std::string_view what;
};
constexpr auto kLookalikes = std::to_array<Lookalike>({
    {"PK\x03\x04", 0, "a zip archive (.npz, .pt)"},
    {"\x93NUMPY", 0, "a numpy array (.npy)"},
    {"GGUF", 0, "GGUF"},
    {"{", 8, "safetensors"},
    {"\x1f\x8b", 0, "gzip"},
    {"\x28\xb5\x2f\xfd", 0, "zstd"},
});

std::string_view lookalike(std::string_view head) {
  for (const Lookalike& row : kLookalikes)
    if (head.substr(row.at).starts_with(row.start)) return row.what;
  return "";
}

[[noreturn]] void fail_foreign(const InputFile& file) {
  const std::string_view what = lookalike(text_of(head_at(file, 0)));
  ErrorParts parts{.file = file.path(), .text = "neither HDF5 nor JSON"};
  if (!what.empty()) parts.text += fmt::format(": it looks like {}", what);
  parts.hint = "kvtape-cache(5) has recipes that write a cache file";
  throw Error(std::move(parts));
}

std::uint64_t little_endian(const Head& head, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;)
    value = value << 8 | std::to_integer<std::uint64_t>(head[at + i]);
  return value;
}

void check_closed(const InputFile& file, const Head& head) {
  constexpr std::size_t kFlags = 11;
  constexpr std::byte kOpenForWriting{0x05};  // written, or by one with readers
  if ((head[kFlags] & kOpenForWriting) == std::byte{0}) return;
  throw Error({.file = file.path(),
               .text = "its writer has not closed this file",
               .hint = "it is being written, or the writer died; dump again"});
}

void check_header(const InputFile& file, std::int64_t at) {
  constexpr std::int64_t kShortest = 48;  // bytes of a superblock, version 2
  if (file.size() - at >= kShortest) return;
  throw Error({.file = file.path(),
               .text = "file is cut short: it ends inside its header",
               .hint = "copy it again"});
}

void check_whole(const InputFile& file, std::uint64_t end) {
  if (end <= static_cast<std::uint64_t>(file.size())) return;
  throw Error({.file = file.path(),
               .text = fmt::format("file is cut short: its header says {} "
                                   "bytes, it has {}",
                                   end, file.size()),
               .hint = "the writer did not close the file; dump again, or copy "
                       "it again"});
}

}  // namespace

void check_superblock(const InputFile& file) {
  if (file.size() == 0)
    throw Error({.file = file.path(),
                 .text = "file is empty",
                 .hint = "the writer wrote nothing; dump again"});
  const auto at = find_signature(file);
  if (!at) fail_foreign(file);
  check_header(file, *at);
  const Head head = head_at(file, *at);
  const int version = std::to_integer<int>(head[8]);
  const bool is_new = version == 2 || version == 3;
  // Files with offsets of other sizes than 8 bytes are left to libhdf5.
  const std::byte offset_size = head[is_new ? 9 : 13];
  if (version > 3 || offset_size != std::byte{8}) return;
  if (version == 3) check_closed(file, head);
  // The end of file stands after the base address and another address.
  const std::size_t base = is_new ? 12 : version == 1 ? 28 : 24;
  check_whole(file, little_endian(head, base + 16));
}

}  // namespace kvtape
