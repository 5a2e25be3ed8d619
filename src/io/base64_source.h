// Elements of a tensor that stay where they are in a file of JSON: in base64,
// any of them can be decoded alone.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "io/file_source.h"

namespace kvtape {

class Base64Source final : public FileSource {
 public:
  /// `text_at`: where in the file the text of all elements begins, which has
  /// been read once and was base64 of as many bytes.
  Base64Source(std::shared_ptr<const InputFile> input,
               std::shared_ptr<const MappedFile> file, std::int64_t text_at,
               std::vector<std::int64_t> sizes, int bytes_per_element,
               Storage storage);

  std::span<const std::byte> bytes() const override { return {}; }
  void read(const Box& box, std::span<std::byte> out) const override;
  Storage storage() const override { return storage_; }

 private:
  void decode(std::int64_t first, std::span<std::byte> out) const;
  void decode_quads(std::int64_t first, std::int64_t count,
                    std::byte* out) const;

  std::shared_ptr<const MappedFile> file_;
  std::string_view text_;
  std::vector<std::int64_t> sizes_;
  int bytes_per_element_;
  Storage storage_;
};

}  // namespace kvtape
