// A tape written as JSON and read again is the same, bit for bit.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "io/same_tape.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "ops/random_tape.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() /
                  ("kvtape_json_round_trip." + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

// Layers that share a dataset do so in a document only where none is missing.
void unstack(std::optional<Tensor>& tensor) {
  if (!tensor || !tensor->layer) return;
  std::vector<Axis> axes;
  for (const Axis& axis : tensor->axes)
    if (axis.kind != AxisKind::kLayer) axes.push_back(axis);
  tensor = make_tensor(tensor->dtype, std::move(axes), bytes_of(*tensor));
}

Tape unstacked(Tape tape) {
  for (auto& [number, layer] : tape.cache.layers) {
    unstack(layer.key);
    unstack(layer.value);
  }
  return tape;
}

Tape through_json(const Tape& tape, const JsonOptions& options) {
  const Folder folder;
  const fs::path path = folder.path / "tape.json";
  {
    std::ofstream out(path, std::ios::binary);
    write_json(tape, options, [&](std::string_view text) { out << text; });
  }
  return read_tape(path);
}

void check_same(const Tape& tape) {
  const Tape expected = unstacked(tape);
  for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64})
    for (const int indent : {0, 2}) {
      INFO(name(encoding) << ", indent " << indent);
      const Tape again =
          through_json(tape, {.encoding = encoding, .indent = indent});
      CHECK(differences(expected, unstacked(again)) ==
            std::vector<std::string>());
      if (!tape.findings.empty()) CHECK(again.findings == tape.findings);
    }
}

TEST_CASE("every way to store a tensor in HDF5 survives JSON") {
  for (const char* name :
       {"contiguous", "old_layout", "big_endian", "big_endian_chunked", "bf16",
        "chunked", "chunked_new", "gzip", "gzip_shuffle",
        "gzip_shuffle_fletcher32", "fletcher32", "incompressible", "compact",
        "axes", "stack", "quantized", "empty_positions", "everything"}) {
    INFO(name);
    check_same(read_tape(made(name)));
  }
}

TEST_CASE("the real systems' caches survive JSON") {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(
           fs::path(std::getenv("KVTAPE_TESTDATA")) / "goldens")) {
    if (entry.path().extension() != ".h5") continue;
    INFO(entry.path().filename());
    check_same(read_tape(entry.path()));
    ++count;
  }
  CHECK(count >= 27);
}

// ---- random tapes

using tests::Numbers;

std::vector<std::byte> random_bytes(std::int64_t count, Numbers& numbers) {
  std::vector<std::byte> bytes;
  for (std::int64_t i = 0; i < count; ++i)
    bytes.push_back(static_cast<std::byte>(numbers.below(256)));
  return bytes;
}

// Any dtype, any bits: NaN of all kinds, infinities, -0.
Tensor random_extra(Numbers& numbers) {
  const DType dtype =
      kDTypes[static_cast<std::size_t>(numbers.below(kDTypes.size()))].dtype;
  std::vector<Axis> axes;
  std::int64_t count = 1;
  for (std::int64_t rank = numbers.below(5); rank > 0; --rank) {
    axes.push_back({.size = numbers.below(4)});
    count *= axes.back().size;
  }
  std::vector<std::byte> bytes =
      random_bytes(count * bytes_per_element(dtype), numbers);
  if (dtype == DType::kBool)
    for (std::byte& byte : bytes) byte &= std::byte{1};
  return make_tensor(dtype, std::move(axes), std::move(bytes));
}

std::string random_text(Numbers& numbers) {
  constexpr std::array<const char*, 9> kParts{
      "a", "\"", "\\", "\n", "\x1b", "\x7f", "\u00e9", "\u202e", "\U0001f600"};
  std::string text;
  for (std::int64_t i = numbers.below(6); i > 0; --i)
    text += kParts[static_cast<std::size_t>(numbers.below(kParts.size()))];
  return text;
}

AttributeValue random_attribute(Numbers& numbers) {
  switch (numbers.below(7)) {
    case 0:
      return NoValue();
    case 1:
      return numbers.below(2) == 1;
    case 2:
      return (numbers.below(1000) - 500) * 18014398509481984;
    case 3:
      return std::uint64_t{1} << 63 |
             static_cast<std::uint64_t>(numbers.below(1000));
    case 4:
      return numbers.next() * 1e10;
    case 5:
      return random_text(numbers);
    default:
      return std::vector<std::int64_t>(
          static_cast<std::size_t>(numbers.below(4)), -numbers.below(9));
  }
}

void add_extras(Tape& tape, Numbers& numbers) {
  for (std::int64_t i = 0; i < numbers.below(5); ++i) {
    Extra extra{.path = "/extra" + std::to_string(i)};
    for (std::int64_t a = 0; a < numbers.below(4); ++a)
      extra.attributes.emplace_back("attribute" + std::to_string(a),
                                    random_attribute(numbers));
    if (numbers.below(3) > 0) extra.tensor = random_extra(numbers);
    tape.extras.push_back(std::move(extra));
  }
}

template <typename T>
T one_of(std::vector<T> choices, Numbers& numbers) {
  return choices[static_cast<std::size_t>(numbers.below(std::ssize(choices)))];
}

tests::TapeShape random_shape(std::uint64_t seed, Numbers& numbers) {
  using Sizes = std::vector<std::int64_t>;
  tests::TapeShape shape{.seed = seed};
  shape.batch = one_of<Sizes>({{1}, {2}, {2, 3}, {1, 2, 1}}, numbers);
  shape.layers = 1 + numbers.below(12);
  shape.extent = 6 + numbers.below(6);
  shape.key_heads = 1 + numbers.below(2);
  shape.query_heads = 2 * shape.key_heads;
  shape.key_dim = 2 * (1 + numbers.below(3));
  shape.value_dim = 2 * (1 + numbers.below(3));
  shape.dtype = one_of<DType>(
      {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}, numbers);
  shape.order =
      one_of<std::string>({"bphd", "bhpd", "bdhp", "pbhd", "hdbp"}, numbers);
  shape.stacked = numbers.below(4) == 0;
  shape.steps = {2, 1};
  return shape;
}

void quantize_some(Tape& tape, Numbers& numbers) {
  for (auto& [number, layer] : tape.cache.layers) {
    if (numbers.below(2) == 0)
      layer.key = tests::quantized(*layer.key, Quantization::Scheme::kInt8, 0);
    if (numbers.below(2) == 0)
      layer.value =
          tests::quantized(*layer.value, Quantization::Scheme::kNF4, 2);
  }
}

void make_some_absent(Tape& tape, Numbers& numbers) {
  std::erase_if(tape.cache.layers,
                [&](const auto&) { return numbers.below(5) == 0; });
  for (auto& [number, layer] : tape.cache.layers) {
    if (numbers.below(6) == 0) layer.value.reset();
    if (numbers.below(6) == 0) layer.index.reset();
    if (numbers.below(2) == 0) layer.window = numbers.below(9);
    if (numbers.below(2) == 0) layer.layer_index = number;
    if (numbers.below(2) == 0) layer.frozen = numbers.below(2) == 1;
    if (numbers.below(3) == 0) layer.rotary.theta = 1 + numbers.below(9);
  }
}

Tape random_tape(std::uint64_t seed) {
  Numbers numbers(seed);
  const tests::TapeShape shape = random_shape(seed, numbers);
  Tape tape = tests::random_tape(shape);
  const bool usual = shape.batch.size() == 1 && shape.order == "bphd";
  if (usual && !shape.stacked && shape.dtype != DType::kF64)
    quantize_some(tape, numbers);
  make_some_absent(tape, numbers);
  tape.model = random_text(numbers);
  tape.cache.metadata.pad_token_id = numbers.below(2) - 1;
  if (numbers.below(2) == 0) tape.cache.metadata.num_heads = numbers.below(9);
  if (numbers.below(2) == 0) tape.cache.rotary.inv_freq = {1.0, numbers.next()};
  if (numbers.below(3) == 0) tape.trace.reset();
  if (numbers.below(3) == 0)
    tape.final_state.emplace().layers[0].window = numbers.below(5);
  add_extras(tape, numbers);
  return tape;
}

TEST_CASE("random tapes survive JSON") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    INFO("seed " << seed);
    const Tape tape = random_tape(seed);
    const Tape expected = unstacked(tape);
    for (const Encoding encoding : {Encoding::kNumbers, Encoding::kBase64}) {
      INFO(name(encoding));
      const Tape again = through_json(
          tape, {.encoding = encoding, .indent = seed % 2 == 0 ? 0 : 1});
      CHECK(differences(expected, unstacked(again)) ==
            std::vector<std::string>());
    }
  }
}

TEST_CASE("all bits of the 16-bit floats survive JSON") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes;
    for (int bits = 0; bits < 65536; ++bits) {
      bytes.push_back(static_cast<std::byte>(bits & 0xff));
      bytes.push_back(static_cast<std::byte>(bits >> 8));
    }
    Tape tape;
    tape.extras.push_back(
        {.path = "/bits",
         .tensor = make_tensor(dtype, {{.size = 65536}}, std::move(bytes))});
    check_same(tape);
  }
}

}  // namespace
}  // namespace kvtape::test
