// Caches in the parts that devices hold.
#include "kvtape/sharding.h"

#include <catch2/catch.hpp>
#include <set>

#include "hidden_source.h"
#include "kvtape/easydel.h"
#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "kvtape/transform.h"
#include "kvtape/validate.h"
#include "ops/tapes.h"

namespace kvtape {
namespace {

using Catch::Matchers::Contains;

const Mesh kMesh{{"dp", 2}, {"fsdp", 1}, {"sp", 2}, {"tp", 2}};
const PartitionAxes kAxes{.batch = {"dp", "fsdp"},
                          .kv_length = {"sp"},
                          .kv_head = {"tp"},
                          .kv_head_dim = {}};

Cache sound() { return test::sound_tape().cache; }

std::vector<Cache> all_shards(const Cache& cache, const Mesh& mesh,
                              const PartitionAxes& axes) {
  std::vector<Cache> shards;
  for (std::int64_t device = 0; device < device_count(mesh); ++device)
    shards.push_back(shard(cache, mesh, axes, device));
  return shards;
}

TEST_CASE("the part of a device, as numpy's reshape of the devices gives it") {
  // np.arange(8).reshape(2, 1, 2, 2): device 5 is at dp 1, sp 0, tp 1.
  const ShardPlace place = shard_place({4, 8, 2, 6}, kMesh, kAxes, 5);
  CHECK(place[0] == Interval{2, 4});
  CHECK(place[1] == Interval{0, 4});
  CHECK(place[2] == Interval{1, 2});
  CHECK(place[3] == Interval{0, 6});
  // Two mesh axes for one: the first is the coarser.
  const PartitionAxes both{
      .batch = {}, .kv_length = {"tp", "sp"}, .kv_head = {}, .kv_head_dim = {}};
  CHECK(shard_place({4, 8, 2, 6}, kMesh, both, 5)[1] == Interval{4, 6});
  CHECK(shard_place({4, 8, 2, 6}, kMesh, both, 2)[1] == Interval{2, 4});
}

TEST_CASE("parts cover the whole once") {
  std::set<std::vector<std::int64_t>> elements;
  for (std::int64_t device = 0; device < 8; ++device) {
    const ShardPlace p = shard_place({4, 8, 2, 6}, kMesh, kAxes, device);
    for (std::int64_t b = p[0].first; b < p[0].last; ++b)
      for (std::int64_t s = p[1].first; s < p[1].last; ++s)
        for (std::int64_t h = p[2].first; h < p[2].last; ++h)
          CHECK(elements.insert({b, s, h}).second);
  }
  CHECK(elements.size() == 4 * 8 * 2);
}

TEST_CASE("shards gathered are the cache, bit for bit") {
  const Cache cache = sound();
  const auto shards = all_shards(cache, kMesh, kAxes);
  CHECK(extent(*shards[0].layers.at(0).key, AxisKind::kPosition) == 4);
  CHECK(integers(*shards[0].layers.at(0).index).size() == 1);
  CHECK(first_difference(gather(shards, kMesh, kAxes), cache).value_or("") ==
        "");
}

TEST_CASE("the element of a shard is the one at its place") {
  const Cache cache = sound();
  const auto whole = doubles(*cache.layers.at(1).key);
  const Cache part = shard(cache, kMesh, kAxes, 7);
  const auto values = doubles(*part.layers.at(1).key);
  REQUIRE(values.size() == 1 * 4 * 1 * 6);
  for (std::size_t s = 0; s < 4; ++s)
    for (std::size_t d = 0; d < 6; ++d)
      CHECK(values[s * 6 + d] == whole[((1 * 8 + 4 + s) * 2 + 1) * 6 + d]);
}

TEST_CASE("sources that have no address, and other memory orders") {
  Tape tape = test::sound_tape();
  const Cache plain = tape.cache;
  tape = with_axes(tape, "batch,dim,head,position");
  for (auto& [number, layer] : tape.cache.layers) {
    layer.key = tests::hidden(*layer.key);
    layer.value = tests::hidden(*layer.value);
  }
  const auto shards = all_shards(tape.cache, kMesh, kAxes);
  CHECK(first_difference(gather(shards, kMesh, kAxes), plain).value_or("") ==
        "");
}

TEST_CASE("quantized caches are gathered with the same codes and scales") {
  using Methods = easydel::EasyDeLQuantizationMethods;
  for (const auto& [method, block] :
       {std::pair(Methods::kA8Bit, 256), std::pair(Methods::kNF4, 2)}) {
    Cache cache = sound();
    const easydel::EasyQuantizer quantizer{.quantization_method = method,
                                           .block_size = block};
    for (auto& [number, layer] : cache.layers) {
      layer.key = quantizer(*layer.key);
      layer.value = quantizer(*layer.value);
      REQUIRE(layer.key->quantized());
    }
    const auto shards = all_shards(cache, kMesh, kAxes);
    CHECK(first_difference(gather(shards, kMesh, kAxes), cache).value_or("") ==
          "");
    const PartitionAxes dims{
        .batch = {}, .kv_length = {}, .kv_head = {}, .kv_head_dim = {"tp"}};
    CHECK_THROWS_WITH(shard(cache, kMesh, dims, 0), Contains("kv_head_dim"));
  }
}

TEST_CASE("what cannot be divided or put together is refused") {
  const Cache cache = sound();
  const Mesh three{{"tp", 3}};
  const PartitionAxes heads{
      .batch = {}, .kv_length = {}, .kv_head = {"tp"}, .kv_head_dim = {}};
  CHECK_THROWS_WITH(
      shard(cache, three, heads, 0),
      "/layers/0/key: kv_head: expected a multiple of 3, found 2");
  CHECK_THROWS_WITH(shard(cache, kMesh, kAxes, 8),
                    Contains("device: expected 0 to 7, found 8"));
  PartitionAxes wrong = kAxes;
  wrong.kv_head = {"ep"};
  CHECK_THROWS_WITH(shard(cache, kMesh, wrong, 0), Contains("\"ep\""));
  wrong.kv_head = {"sp"};
  CHECK_THROWS_WITH(shard(cache, kMesh, wrong, 0), Contains("\"sp\" twice"));
  CHECK_THROWS_WITH(device_count({{"tp", 0}}), Contains("positive"));
  CHECK_THROWS_WITH(device_count({{"tp", 2}, {"tp", 2}}), Contains("twice"));
  auto shards = all_shards(cache, kMesh, kAxes);
  shards[3].layers.at(0).key->axes[1].size = 3;
  CHECK_THROWS_AS(gather(shards, kMesh, kAxes), Error);
  shards = all_shards(cache, kMesh, kAxes);
  shards[6].layers.at(0).value.reset();
  CHECK_THROWS_WITH(gather(shards, kMesh, kAxes),
                    "/layers/0/value: device 6: expected a part, found none");
  shards.pop_back();
  CHECK_THROWS_WITH(gather(shards, kMesh, kAxes), Contains("expected 8"));
}

TEST_CASE("a dump of one device is recognised by its sizes") {
  Tape tape;
  tape.cache = sound();
  CHECK_FALSE(shard_factors(tape.cache));
  const PartitionAxes heads{
      .batch = {"dp"}, .kv_length = {}, .kv_head = {"tp"}, .kv_head_dim = {}};
  tape.cache = shard(tape.cache, kMesh, heads, 3);
  const auto factors = shard_factors(tape.cache);
  REQUIRE(factors);
  CHECK(factors->batch == 2);
  CHECK(factors->position == 1);
  CHECK(factors->head == 2);
  CHECK(factors->dim == 1);
  const auto findings = validate(tape).findings;
  const auto found =
      std::find_if(findings.begin(), findings.end(),
                   [](const Finding& each) { return each.rule == "E26"; });
  REQUIRE(found != findings.end());
  CHECK(found->found ==
        "batch 1/2, head 1/2 of them in every key and value: one of 4");
  // One layer that differs is a fault, not a shard.
  tape.cache.layers.at(0) = sound().layers.at(0);
  CHECK_FALSE(shard_factors(tape.cache));
}

}  // namespace
}  // namespace kvtape
