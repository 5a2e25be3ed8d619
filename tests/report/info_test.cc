// The text of `info`.
#include "report/info.h"

#include <catch2/catch.hpp>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("info folds equal layers") {
  CHECK(info_text(samples::plain_tape(12), {}) ==
        R"(plain.h5  kvtape 1 (HDF5)  1.23 kB
  layers     12          positions  512 of 1024  batch      1
  heads      8           head dim   64           dtype      f32
  stored     contiguous
  axes       batch, position, head, dim
  attention  by default 8 query heads, scale 0.125, no softcap, key heads repeated, causal visibility, masked rows uniform
  rotary     by default style none, keys rotated, queries rotated

  layer  key                   value                 filled         bytes
  0-11   f32 [1, 1024, 8, 64]  f32 [1, 1024, 8, 64]     512  4.19 MB each
)");
}

TEST_CASE("info tells all that is in a tape") {
  CHECK(info_text(samples::tape(), {}) == R"(run42.h5  kvtape 1 (HDF5)  12.6 MB
  model      tiny-gpt      source     easydel  layers     2 of 3
  positions  17-20 of 128  batch      2        head dim   32
  dtype      f16; nf4
  producer   easydel 0.1.0 on jax
  heads      4 key, 8 query (group 2)
  axes       batch, position, head, dim; batch, kv (head), seq (position), projection (dim)
  stored     contiguous; chunked (shuffle, deflate)
  attention  8 query heads, softcap 50; by default scale 0.1767767, key heads repeated, causal visibility, masked rows uniform
  rotary     style half; by default theta 10000, 32 dims, keys rotated, queries rotated
  padding    left in 1 of 2 rows, starts 0-3
  masks      attention_mask bool [2, 128]
  trace      5 steps of 16 tokens (12, 4 x 1), 2 layers: query, output (1 of 2 layers), token mask
  log        2 operations: ?, append
  final      1 layer
  also       1 weight, 2 others (-v for their names)
  findings   1 error by the reader; see kvtape validate run42.h5

  layer  key                  value                      filled  starts    bytes  notes
  0      f16 [2, 128, 4, 32]  f16 [2, 128, 4, 32]            20     0-3   131 kB
  1      f16 [2, 4, 128, 32]  nf4 (f16) [2, 128, 4, 32]   17-20     0-3  86.0 kB  ring layout, window 64, frozen, blocks of 32, theta 1000000
)");
}

TEST_CASE("info -v names further objects and folds nothing") {
  const std::string text = info_text(samples::tape(), {.verbosity = 1});
  CHECK_THAT(text, Catch::EndsWith(R"(
  further objects
  /layers/0/weights/query  f32 [32]
  /notes                   6 attributes
  /trace/others            f16 [1, 1, 1, 2]
)"));
  const std::string plain =
      info_text(samples::plain_tape(12), {.verbosity = 1});
  CHECK_THAT(plain, Catch::Contains("\n  11     f32"));
}

TEST_CASE("info of a tape that holds nothing") {
  CHECK(info_text({.file = "empty.h5", .file_bytes = 800, .tape = {}}, {}) ==
        R"(empty.h5  kvtape 1 (HDF5)  800 bytes
  layers     0  positions  ? of 0  batch      0
  heads      ?  head dim   ?
  attention  by default 0 query heads, scale 1, no softcap, key heads repeated, causal visibility, masked rows uniform
  rotary     by default style none, keys rotated, queries rotated
)");
}

TEST_CASE("info puts alternating layers together") {
  NamedTape named = samples::plain_tape(6);
  for (const int local : {0, 2, 4}) named.tape.cache.layers[local].window = 4;
  const std::string text = info_text(named, {});
  CHECK_THAT(text, Catch::Contains("\n  0, 2, 4  f32"));
  CHECK_THAT(text, Catch::Contains("\n  1, 3, 5  f32"));
  CHECK_THAT(text, Catch::Contains("window 4\n"));
}

TEST_CASE("info prints hostile names as text") {
  NamedTape named = samples::plain_tape(1);
  Tape& tape = named.tape;
  named.file = tape.source = tape.model = samples::hostile_name();
  tape.cache.layers[0].key->axes[0].name = samples::hostile_name();
  tape.extras = {{samples::hostile_name(), {}, {}}};
  const std::string text = info_text(named, {.verbosity = 1});
  for (const char each : text) {
    REQUIRE((each == '\n' || (each >= 0x20 && each <= 0x7E)));
  }
}

TEST_CASE("info survives numbers that no cache has") {
  NamedTape named = samples::plain_tape(1);
  CacheMetadata& metadata = named.tape.cache.metadata;
  metadata.num_hidden_layers = std::numeric_limits<std::int64_t>::max();
  metadata.batch_size = std::numeric_limits<std::int64_t>::min();
  CHECK_THAT(info_text(named, {}), Catch::Contains("1 of 9223372036854775807"));
}

}  // namespace
}  // namespace kvtape
