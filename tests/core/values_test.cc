// Errors, words, specs, natural order and the thread pool.
#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <vector>

#include "core/natural.h"
#include "core/thread_pool.h"
#include "kvtape/cache.h"
#include "kvtape/dtype.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

TEST_CASE("an error is one line of its parts") {
  const Error error({.object = "/layers/7/value",
                     .field = "shape",
                     .expected = "[1, 2]",
                     .found = "[1, 1]"});
  CHECK(std::string(error.what()) ==
        "/layers/7/value: shape: expected [1, 2], found [1, 1]");
  CHECK(std::string(error.in_file("a.h5").what()) ==
        "a.h5: /layers/7/value: shape: expected [1, 2], found [1, 1]");
  CHECK(std::string(error.in_file("a.h5").in_file("b.h5").what()) ==
        "a.h5: /layers/7/value: shape: expected [1, 2], found [1, 1]");
  CHECK(std::string(Error({.file = "a.h5", .text = "is empty"}).what()) ==
        "a.h5: is empty");
}

TEST_CASE("every word reads back to its value") {
  for (const DTypeInfo& entry : kDTypes) {
    CHECK(dtype_from_name(entry.name) == entry.dtype);
    CHECK(info(entry.dtype).name == entry.name);
  }
  CHECK(!dtype_from_name("float"));
  for (const auto value :
       {Layout::kLinear, Layout::kRing, Layout::kShift, Layout::kGrowing})
    CHECK(layout_from_name(name(value)) == value);
  for (const auto value :
       {Visibility::kCausal, Visibility::kMask, Visibility::kRange})
    CHECK(visibility_from_name(name(value)) == value);
  for (const auto value :
       {MaskedRows::kUniform, MaskedRows::kZeros, MaskedRows::kNaN})
    CHECK(masked_rows_from_name(name(value)) == value);
  for (const auto value :
       {RotaryStyle::kNone, RotaryStyle::kHalf, RotaryStyle::kInterleaved})
    CHECK(rotary_style_from_name(name(value)) == value);
  for (const auto value : {HeadMap::kRepeat, HeadMap::kTile})
    CHECK(head_map_from_name(name(value)) == value);
  CHECK(!layout_from_name(""));
}

TEST_CASE(
    "a layer's word stands before the cache's, which stands before the "
    "default") {
  const AttentionSpec cache{.query_heads = 8, .logit_softcap = 50.0};
  const AttentionSpec layer{.logit_softcap = 30.0};
  const Attention attention = resolved(merged(layer, cache), 2, 64);
  CHECK(attention.query_heads == 8);
  CHECK(attention.logit_softcap == 30.0);
  CHECK(attention.softmax_scale == 0.125);
  CHECK(resolved(AttentionSpec{}, 2, 64).query_heads == 2);
}

TEST_CASE("a layer's theta puts the cache's frequencies out of force") {
  const RotarySpec cache{.inv_freq = std::vector<double>{1.0, 0.5}};
  const RotarySpec layer{.theta = 1e6};
  const RotarySpec both = merged(layer, cache);
  CHECK(both.theta == 1e6);
  CHECK(!both.inv_freq);
  CHECK(merged(RotarySpec{}, cache).inv_freq->size() == 2);
  CHECK(resolved(RotarySpec{}, 16).dims == 16);
}

TEST_CASE("names sort as people count") {
  CHECK(natural_less("/layers/2/key", "/layers/10/key"));
  CHECK(!natural_less("/layers/10/key", "/layers/2/key"));
  CHECK(natural_less("/layers/2", "/layers/2/key"));
  CHECK(!natural_less("a", "a"));
  CHECK(natural_less("a02", "a2") != natural_less("a2", "a02"));
  CHECK(natural_less("", "0"));
  CHECK(natural_less("99999999999999999999", "100000000000000000000"));
}

TEST_CASE("the pool does each task once, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const std::int64_t tasks : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(tasks));
      std::atomic<bool> in_range = true;
      pool.run(tasks, [&](std::int64_t task, int worker) {
        ++done[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= threads) in_range = false;
      });
      for (const auto& count : done) REQUIRE(count == 1);
      CHECK(in_range);
    }
  }
}

TEST_CASE("the pool gives the exception of the lowest task, and goes on") {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    CHECK_THROWS_WITH(
        pool.run(100,
                 [](std::int64_t task, int) {
                   if (task % 10 == 7)
                     throw std::runtime_error(std::to_string(task));
                 }),
        "7");
    std::atomic<int> count = 0;
    pool.run(10, [&](std::int64_t, int) { ++count; });
    CHECK(count == 10);
  }
}

}  // namespace
}  // namespace kvtape
