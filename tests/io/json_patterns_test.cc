// Random bit patterns as JSON text and back: a hundred thousand of each dtype,
// with KVTAPE_LONG=1 ten million.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "io/same_tape.h"
#include "kvtape/io.h"
#include "kvtape/json.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kInDocument = 100'000;

std::int64_t documents() {
  const char* value = std::getenv("KVTAPE_LONG");
  return value != nullptr && std::string_view(value) == "1" ? 100 : 1;
}

// Of all bits: every exponent is as likely as any other.
std::vector<std::byte> random_patterns(std::int64_t bytes,
                                       std::mt19937_64& random) {
  std::vector<std::byte> patterns(static_cast<std::size_t>(bytes));
  for (std::size_t at = 0; at < patterns.size(); at += 8) {
    const std::uint64_t bits = random();
    std::memcpy(&patterns[at], &bits, 8);
  }
  return patterns;
}

Tape tape_of(DType dtype, std::vector<std::byte> patterns) {
  Tape tape;
  tape.cache.metadata = {.batch_size = 1,
                         .sequence_length = kInDocument,
                         .num_hidden_layers = 1,
                         .num_heads = 1,
                         .head_dim = 1};
  tape.cache.layers[0].key =
      make_tensor(dtype,
                  {{AxisKind::kBatch, "batch", 1},
                   {AxisKind::kPosition, "position", kInDocument},
                   {AxisKind::kHead, "head", 1},
                   {AxisKind::kDim, "dim", 1}},
                  std::move(patterns));
  return tape;
}

std::vector<std::byte> key_again(const Tape& tape, Encoding encoding) {
  const fs::path path =
      fs::temp_directory_path() /
      ("kvtape_json_patterns." + std::to_string(getpid()) + ".json");
  {
    std::ofstream out(path, std::ios::binary);
    write_json(tape, {.encoding = encoding, .threads = 1},
               [&out](std::string_view text) { out << text; });
  }
  auto bytes = bytes_of(*read_tape(path).cache.layers.at(0).key);
  fs::remove(path);
  return bytes;
}

TEST_CASE("random bit patterns survive JSON", "[long]") {
  const DType dtype = GENERATE(DType::kF32, DType::kF64);
  std::mt19937_64 random(20261123);
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < documents(); ++i) {
    const auto patterns =
        random_patterns(kInDocument * bytes_per_element(dtype), random);
    const Tape tape = tape_of(dtype, patterns);
    for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64})
      different += key_again(tape, encoding) == patterns ? 0 : 1;
  }
  INFO(name(dtype) << ", documents that differ");
  CHECK(different == 0);
}

}  // namespace
}  // namespace kvtape::test
