// What is written reads back the same, bytes included.
#include <unistd.h>
#include <xxhash.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>

#include "io/same_tape.h"
#include "kvtape/io.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

// A folder of its own, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() /
                  ("kvtape_round_trip." + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return path / name; }
};

void check_round_trip(const std::string& path) {
  INFO(path);
  const Folder folder;
  const Tape tape = read_tape(path);
  for (const bool compress : {false, true}) {
    INFO("compress " << compress);
    const std::string copy = folder.file(compress ? "small.h5" : "copy.h5");
    write_tape(tape, copy, {.compress = compress});
    const Tape again = read_tape(copy);
    CHECK(differences(tape, again) == std::vector<std::string>());
  }
}

TEST_CASE("every way to store a tensor survives a round trip") {
  for (const char* name :
       {"contiguous", "old_layout", "big_endian", "big_endian_chunked", "bf16",
        "chunked", "chunked_new", "gzip", "gzip_shuffle",
        "gzip_shuffle_fletcher32", "fletcher32", "incompressible", "compact",
        "axes", "stack", "quantized", "empty_positions", "everything"})
    check_round_trip(made(name));
}

TEST_CASE("what the reader finds wrong is kept and written again") {
  const Folder folder;
  const Tape tape = read_tape(made("findings"));
  write_tape(tape, folder.file("copy.h5"));
  const Tape again = read_tape(folder.file("copy.h5"));
  const auto lines = [](const Tape& from) {
    std::string text;
    // A wrong batch_size does not stand beside the one that is written.
    for (const Extra& extra : from.extras)
      if (extra.path != "/metadata")
        text +=
            extra.path + " " + std::to_string(extra.attributes.size()) + "\n";
    return text;
  };
  CHECK(lines(tape) == lines(again));
}

Tape large_tape() {
  // 3 x 1000 x 8 x 64 f32: several chunks, with edges, when compressed.
  const std::vector<std::int64_t> sizes{3, 1000, 8, 64};
  std::vector<std::byte> bytes(3 * 1000 * 8 * 64 * 4);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 2654435761U >> 13);
  Tape tape;
  tape.cache.layers[7].key =
      make_tensor(DType::kF32,
                  {{AxisKind::kBatch, "batch", 3},
                   {AxisKind::kPosition, "position", 1000},
                   {AxisKind::kHead, "head", 8},
                   {AxisKind::kDim, "dim", 64}},
                  std::move(bytes));
  return tape;
}

TEST_CASE("chunks with edges survive, and so do layers out of a stack") {
  const Folder folder;
  Tape tape = large_tape();
  write_tape(tape, folder.file("a.h5"), {.compress = true});
  CHECK(differences(tape, read_tape(folder.file("a.h5"))).empty());

  // Layer 2 of a stack of 3, the others left out.
  auto& axes = tape.cache.layers[7].key->axes;
  axes[0] = {AxisKind::kLayer, "layer", 3};
  tape.cache.layers[7].key->layer = 2;
  write_tape(tape, folder.file("b.h5"), {.compress = true});
  const Tape one = read_tape(folder.file("b.h5"));
  const Tensor& key = *one.cache.layers.at(7).key;
  CHECK(shape_text(key) == "[1000, 8, 64]");
  CHECK(bytes_of(key) == bytes_of(*tape.cache.layers[7].key));
}

TEST_CASE("the same tape gives the same file") {
  const Folder folder;
  const Tape tape = read_tape(made("everything"));
  for (const char* name : {"a.h5", "b.h5"}) write_tape(tape, folder.file(name));
  const auto a = fs::file_size(folder.file("a.h5"));
  std::vector<char> first(a);
  std::vector<char> second(fs::file_size(folder.file("b.h5")));
  for (auto [name, into] : {std::pair("a.h5", &first), {"b.h5", &second}}) {
    FILE* file = fopen(folder.file(name).c_str(), "rb");
    REQUIRE(fread(into->data(), 1, into->size(), file) == into->size());
    fclose(file);
  }
  CHECK(first == second);
}

TEST_CASE("written tensors can be mapped and tell their digest") {
  const Folder folder;
  write_tape(large_tape(), folder.file("a.h5"));
  const Tape tape = read_tape(folder.file("a.h5"));
  const Tensor& key = *tape.cache.layers.at(7).key;
  const Storage storage = key.source->storage();
  CHECK(storage.layout == "contiguous");
  CHECK(storage.digest.starts_with("xxh3:"));
  CHECK(storage.digest.size() == 5 + 32);
  const auto bytes = key.source->bytes();
  std::string text = "f32[3,1000,8,64]";
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  char expected[38];
  std::snprintf(expected, sizeof(expected), "xxh3:%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  CHECK(storage.digest == expected);
  REQUIRE_FALSE(key.source->bytes().empty());
  CHECK(reinterpret_cast<std::uintptr_t>(key.source->bytes().data()) % 4096 ==
        0);
}

}  // namespace
}  // namespace kvtape::test
