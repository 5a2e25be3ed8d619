// Chunks that several threads decode: the same bytes, the same first error.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "io/chunk_cache.h"
#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/stats.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

// A compressed file of one key of several slabs, each of several chunks.
class Chunked {
 public:
  Chunked() {
    Tape tape;
    tape.cache.metadata = {.batch_size = 1,
                           .sequence_length = kSlots,
                           .num_hidden_layers = 1,
                           .num_heads = 4,
                           .head_dim = 96};
    std::vector<std::byte> bytes(kSlots * 4 * 96 * sizeof(float));
    std::uint32_t number = 1;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      number = number * 1664525 + 1013904223;
      bytes[i] = i % 4 == 3 ? std::byte{0x3f} : std::byte(number >> 24);
    }
    tape.cache.layers[0].key =
        make_tensor(DType::kF32,
                    {{AxisKind::kBatch, "batch", 1},
                     {AxisKind::kPosition, "position", kSlots},
                     {AxisKind::kHead, "head", 4},
                     {AxisKind::kDim, "dim", 96}},
                    bytes);
    write_tape(tape, path(), {.force = true, .compress = true});
  }
  ~Chunked() { fs::remove(path_); }

  std::string path() const { return path_; }

  // Bits of the file, of which chunks are all but a little at both ends.
  void damage(double where) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(
        where * static_cast<double>(fs::file_size(path_)));
    file.seekg(at);
    const auto byte = static_cast<char>(file.get() ^ 0x55);
    file.seekp(at);
    file.put(byte);
  }

 private:
  static constexpr std::int64_t kSlots = 12345;  // 19 MB
  fs::path path_ = fs::temp_directory_path() /
                   ("kvtape_chunk_threads." + std::to_string(getpid()));
};

std::string text_or_error(const std::string& path, Encoding encoding,
                          int threads) {
  std::string text;
  try {
    write_json(read_tape(path), {.encoding = encoding, .threads = threads},
               [&](std::string_view part) { text += part; });
  } catch (const Error& error) {
    return error.what();
  }
  return text;
}

TEST_CASE("chunks give the same text for any number of threads") {
  const Chunked file;
  for (const Encoding encoding : {Encoding::kSummary, Encoding::kBase64}) {
    const std::string one = text_or_error(file.path(), encoding, 1);
    REQUIRE(one.starts_with("{"));
    for (const int threads : {2, 3, 8})
      CHECK(text_or_error(file.path(), encoding, threads) == one);
  }
}

TEST_CASE("the first damaged chunk is told, whichever thread finds one") {
  const Chunked file;
  for (const double where : {0.9, 0.6, 0.58, 0.5, 0.3}) {
    file.damage(where);
    const std::string one = text_or_error(file.path(), Encoding::kSummary, 1);
    INFO(one);
    CHECK(one.find("/layers/0/key: chunk at ") != std::string::npos);
    for (int round = 0; round < 5; ++round)
      for (const int threads : {2, 8})
        REQUIRE(text_or_error(file.path(), Encoding::kSummary, threads) == one);
    // Pieces that share chunks.
    for (const int threads : {1, 2, 8}) {
      std::string found;
      try {
        stats(read_tape(file.path()), {.threads = threads});
      } catch (const Error& error) {
        found = error.what();
      }
      CHECK(found == one);
    }
  }
}

ChunkBytes some(std::size_t bytes) {
  return std::make_shared<const std::vector<std::byte>>(bytes);
}

TEST_CASE("a chunk is made by one thread and waited for by the others") {
  ChunkCache cache;
  CHECK(cache.find({0, 1}, 8).mine);
  const auto second = cache.find({0, 1}, 8);
  CHECK((!second.mine && second.chunk == nullptr));
  ChunkCache::Found waited;
  std::thread other([&] { waited = cache.wait({0, 1}, 8); });
  const ChunkBytes chunk = some(8);
  cache.put({0, 1}, chunk);
  other.join();
  CHECK(waited.chunk == chunk);
  CHECK(cache.find({0, 1}, 8).chunk == chunk);
}

TEST_CASE("a chunk that could not be made is for whoever waits") {
  ChunkCache cache;
  CHECK(cache.find({0, 1}, 8).mine);
  ChunkCache::Found waited;
  std::thread other([&] { waited = cache.wait({0, 1}, 8); });
  cache.give_up({0, 1});
  other.join();
  CHECK(waited.mine);
}

TEST_CASE("large chunks are made one after the other") {
  constexpr std::size_t kLarge = std::size_t{64} << 20;
  ChunkCache cache;
  CHECK(cache.find({0, 1}, kLarge).mine);
  CHECK_FALSE(cache.find({0, 2}, kLarge).mine);
  CHECK_FALSE(cache.find({0, 3}, 8).mine);
  cache.give_up({0, 1});
  CHECK(cache.find({0, 2}, kLarge).mine);
}

TEST_CASE("a buffer is not kept for what is much smaller") {
  ChunkCache cache;
  const auto make = [&](std::int64_t number, std::size_t bytes) {
    CHECK(cache.find({0, number}, bytes).mine);
    auto buffer = cache.buffer(bytes);
    buffer->resize(bytes);
    cache.put({0, number}, buffer);
    return buffer->data();
  };
  constexpr std::size_t kLarge = std::size_t{20} << 20;
  const std::byte* first = make(1, kLarge);
  make(2, kLarge);  // drops the first
  CHECK(make(3, kLarge) == first);
  CHECK(cache.buffer(8)->capacity() < kLarge);
}

}  // namespace
}  // namespace kvtape::test
