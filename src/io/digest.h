// What tells whether a dataset's numbers are still those that were written.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/write_plan.h"
#include "kvtape/finding.h"

namespace kvtape {

/// What a digest begins with: "f32[2,3]", dtype and sizes.
std::string digest_header(DType dtype, const std::vector<std::int64_t>& sizes);

/// "xxh3:" and the XXH3 hash of 128 bits, in hex, of digest_header() followed
/// by the elements, little-endian, in C order.
class Digest {
 public:
  explicit Digest(std::string_view start);
  explicit Digest(const PlannedDataset& dataset);  // without its elements
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void add(std::span<const std::byte> elements);
  void add(std::string_view text);
  std::string text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads the elements; `visit` is given them on the way. Throws Error where the
/// file that they come from recorded another digest of the same dataset.
std::string digest_of(
    const PlannedDataset& dataset, ThreadPool& pool,
    const std::function<void(std::span<const std::byte>)>& visit = {});

/// Throws Error where the file that the elements come from recorded another.
void check_digest(const PlannedDataset& dataset, const std::string& digest);

/// Whether the file that the elements come from recorded their digest.
bool has_digest(const PlannedDataset& dataset);

/// "xxh3:" and the hash of everything but the elements: for each object by path
/// its path, dtype and sizes, and its attributes by name, the digest of its
/// elements among them; that of the root alone is left out. The text that is
/// hashed is in kvtape-cache(5), "Digests".
std::string structure_digest(const std::vector<StoredObject>& objects);

/// E08, where the root recorded another one than the objects have.
std::optional<Finding> find_edited(const std::vector<StoredObject>& objects);

}  // namespace kvtape
