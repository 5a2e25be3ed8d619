#include "io/stored_checks.h"

#include <fmt/format.h>

#include "core/checked.h"
#include "io/list_text.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kHighestRank = 8;
constexpr std::int64_t kLargestChunk = 64 << 20;  // bytes
// Deflate shrinks at most 1032 to 1.
constexpr std::int64_t kDeflateRatio = 1100;
constexpr std::int64_t kDeflateRoom = 64 * 1024;  // bytes

class Check {
 public:
  Check(const StoredObject& object, std::int64_t file_bytes)
      : path_(object.path), d_(*object.dataset), file_bytes_(file_bytes) {}

  void run() const {
    const std::int64_t bytes = logical_bytes();
    if (d_.layout == StoredDataset::Layout::kChunked) return check_chunked();
    check_bytes(bytes);
    if (d_.layout == StoredDataset::Layout::kContiguous)
      check_contiguous();
    else if (std::ssize(d_.compact) != d_.stored_bytes)
      refuse("data", fmt::format("{} bytes", d_.stored_bytes),
             std::to_string(d_.compact.size()));
  }

 private:
  [[noreturn]] void refuse(std::string field, std::string expected,
                           std::string found, std::string hint = "") const {
    throw Error({.object = path_,
                 .field = std::move(field),
                 .expected = std::move(expected),
                 .found = std::move(found),
                 .hint = std::move(hint)});
  }

  // Bytes of an array; `field` is where its sizes stand.
  std::int64_t bytes_of(const std::vector<std::int64_t>& sizes,
                        const std::string& field) const {
    const auto count = checked_product(sizes);
    const auto bytes =
        count ? checked_mul(*count, bytes_per_element(d_.dtype)) : count;
    if (!bytes) refuse(field, "a size that fits 63 bits", list_text(sizes));
    return *bytes;
  }

  std::int64_t logical_bytes() const {
    if (d_.sizes.size() > kHighestRank)
      refuse("shape", fmt::format("at most {} axes", kHighestRank),
             std::to_string(d_.sizes.size()));
    return bytes_of(d_.sizes, "shape");
  }

  void check_bytes(std::int64_t expected) const {
    constexpr const char* kHint = "the writer did not write all of it";
    if (d_.stored_bytes == 0 && expected > 0)
      refuse("data", fmt::format("{} bytes", expected), "never written", kHint);
    if (d_.stored_bytes != expected)
      refuse("data", fmt::format("{} bytes", expected),
             std::to_string(d_.stored_bytes), kHint);
  }

  void check_contiguous() const {
    const auto end = checked_add(d_.offset, d_.stored_bytes);
    if (!end || *end > file_bytes_)
      refuse("data", fmt::format("inside the file of {} bytes", file_bytes_),
             fmt::format("{} bytes at {}", d_.stored_bytes, d_.offset));
  }

  // Bytes of all the chunks that cover the sizes, before filters.
  std::int64_t covered_bytes() const {
    std::vector<std::int64_t> covered;
    for (std::size_t axis = 0; axis < d_.sizes.size(); ++axis) {
      const std::int64_t size = d_.sizes[axis];
      const std::int64_t chunk = d_.chunk[axis];
      covered.push_back(size / chunk + (size % chunk != 0 ? 1 : 0));
      covered.push_back(chunk);
    }
    return bytes_of(covered, "chunk");
  }

  void check_chunk() const {
    if (d_.chunk.size() != d_.sizes.size() || d_.chunk.empty())
      refuse("chunk", fmt::format("{} axes", d_.sizes.size()),
             std::to_string(d_.chunk.size()));
    const std::int64_t bytes = bytes_of(d_.chunk, "chunk");
    if (bytes == 0 || bytes > kLargestChunk)
      refuse("chunk", "at most 64 MiB",
             list_text(d_.chunk) + " of " + std::string(name(d_.dtype)));
  }

  void check_chunked() const {
    check_chunk();
    const std::int64_t covered = covered_bytes();
    if (d_.filters.empty() || d_.stored_bytes == 0) return check_bytes(covered);
    if (d_.stored_bytes > file_bytes_)
      refuse("data", fmt::format("at most {} bytes", file_bytes_),
             std::to_string(d_.stored_bytes));
    const auto ratio = checked_mul(file_bytes_, kDeflateRatio);
    const auto most = ratio ? checked_add(*ratio, kDeflateRoom) : ratio;
    if (most && covered > *most)
      refuse(
          "shape",
          fmt::format("at most {} bytes in a file of {}", *most, file_bytes_),
          std::to_string(covered));
  }

  const std::string& path_;
  const StoredDataset& d_;
  std::int64_t file_bytes_;
};

}  // namespace

void check_stored(const StoredObject& object, std::int64_t file_bytes) {
  if (object.dataset) Check(object, file_bytes).run();
}

}  // namespace kvtape
