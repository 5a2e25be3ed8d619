// Every planted fault must be named; what is not one must not be.
#include "ops/explain.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "explain_faults.h"
#include "kvtape/transform.h"

namespace kvtape::tests {
namespace {

const std::vector<WorldShape>& shapes() {
  static const std::vector<WorldShape> all = {
      {},
      {.layers = 3,
       .rows = 2,
       .heads = 4,
       .key_dim = 16,
       .value_dim = 16,
       .extent = 24,
       .index = {24, 24},
       .starts = {0, 5},
       .style = RotaryStyle::kInterleaved,
       .bias = 3},
      {.layers = 3,
       .rows = 3,
       .heads = 4,
       .key_dim = 64,
       .value_dim = 32,
       .extent = 32,
       .index = {32, 24, 27},
       .starts = {0, 0, 0}},
      {.layers = 3,
       .rows = 2,
       .heads = 8,
       .key_dim = 32,
       .value_dim = 32,
       .extent = 32,
       .index = {30, 30},
       .starts = {3, 6},
       .theta = 500000,
       .bias = 8,
       .rotary_from_start = true},
  };
  return all;
}

constexpr std::array kDTypesTried = {DType::kF32, DType::kF16, DType::kBF16};

bool is_long() { return std::getenv("KVTAPE_LONG") != nullptr; }

Explanation explained(const World& expected, const World& actual) {
  const Tape e = tape_of(expected);
  const Tape a = tape_of(actual);
  const DiffOptions options{.explain = false, .threads = 1};
  const DiffReport report = diff(e, a, options);
  return explain(e, a, explain_scope(report, options));
}

// Errors as rounding makes them, of a quarter of what counts as such.
void add_rounding(World& world, std::uint64_t seed) {
  const double size = world.dtype == DType::kF32   ? 0x1p-22
                      : world.dtype == DType::kF16 ? 0x1p-9
                                                   : 0x1p-6;
  Numbers random(seed);
  for (Array* array : {&world.key, &world.value})
    for (double& number : array->numbers) number *= 1 + size * random.next();
  store(world);
}

// Two caches that differ by more than rounding.
bool differ(const World& expected, const World& actual) {
  const DiffOptions options{.explain = false, .threads = 1};
  return diff(tape_of(expected), tape_of(actual), options).verdict ==
         Verdict::kStructural;
}

std::string text_of(const Explanation& explanation) {
  std::string text = explanation.found ? "found:" : "not found:";
  for (const Evidence& each : explanation.evidence) {
    text += "\n  " + each.cause + " (" + each.detail + ") median " +
            std::to_string(each.median) + " worst " +
            std::to_string(each.worst);
    for (const std::string& other : each.same_as) text += " =" + other;
  }
  return text;
}

using Classes = std::map<std::string, std::set<std::string>>;

// What cannot be told apart; kvtape-diff(1) lists it.
const Classes& known_classes() {
  static const Classes all = {
      {"clamped-overflow", {"position-shift", "stale-slots"}},
      {"heads-regrouped", {"heads-permuted"}},
      {"padding-side", {"position-shift"}},
      {"rotary-dims", {"rotary-theta"}},
      {"stale-slots", {"position-shift"}},
  };
  return all;
}

bool names(const Explanation& explanation, const std::string& cause) {
  if (!explanation.found) return false;
  const Evidence& first = explanation.evidence.front();
  return first.cause == cause ||
         std::count(first.same_as.begin(), first.same_as.end(), cause) > 0;
}

}  // namespace

TEST_CASE("every planted fault is named", "[explain]") {
  int planted = 0;
  Classes classes;
  std::uint64_t seed = 1;
  for (const WorldShape& shape : shapes())
    for (const DType dtype : kDTypesTried)
      for (const Fault& fault : faults()) {
        World expected = make_world(shape, dtype, ++seed);
        World actual = expected;
        Numbers random(seed);
        if (!fault.plant(expected, actual, random)) continue;
        ++planted;
        const Explanation explanation = explained(expected, actual);
        INFO(fault.what << ", " << name(dtype) << ", "
                        << &shape - shapes().data());
        INFO(text_of(explanation));
        CHECK(names(explanation, fault.cause));
        if (explanation.found)
          for (const std::string& other : explanation.evidence[0].same_as)
            if (other != fault.cause) classes[fault.cause].insert(other);
      }
  CHECK(classes == known_classes());
  WARN(planted << " faults planted");
}

TEST_CASE("faults are named through rounding and other storage", "[explain]") {
  std::uint64_t seed = 300;
  for (const Fault& fault : faults())
    for (const DType dtype : kDTypesTried) {
      ++seed;
      World expected = make_world(shapes()[seed % 4], DType::kF32, seed);
      World actual = expected;
      actual.dtype = dtype;
      expected.dtype = kDTypesTried[seed / 4 % 3];
      // Those that look at bits need the same numbers.
      const bool exact = fault.family == 9 || fault.what == "codes for numbers";
      if (exact) expected.dtype = dtype;
      store(expected);
      store(actual);
      Numbers random(seed);
      if (!fault.plant(expected, actual, random)) continue;
      store(expected);
      if (!exact) add_rounding(actual, seed);
      if (!differ(expected, actual)) continue;
      const Explanation explanation = explained(expected, actual);
      INFO(fault.what << ", " << name(expected.dtype) << " against "
                      << name(actual.dtype) << ", shape " << seed % 4);
      INFO(text_of(explanation));
      CHECK(names(explanation, fault.cause));
    }
}

TEST_CASE("causes are named in other orders and in codes", "[explain]") {
  for (const Fault& fault : faults()) {
    if (fault.family < 2 || fault.family > 7) continue;
    const WorldShape& shape = shapes()[1];
    World expected = make_world(shape, DType::kF32, 600);
    World actual = expected;
    Numbers random(600);
    if (!fault.plant(expected, actual, random)) continue;
    const Tape plain = tape_of(expected);
    Tape coded = tape_of(actual);
    for (auto& [number, layer] : coded.cache.layers)
      for (std::optional<Tensor>* tensor : {&layer.key, &layer.value})
        *tensor = quantized(**tensor, Quantization::Scheme::kInt8, 0);
    Tape turned = with_axes(tape_of(actual), "batch,dim,head,position");
    for (const Tape* tape : {&coded, &turned}) {
      const Explanation explanation = *diff(plain, *tape).explanation;
      INFO(fault.what);
      INFO(text_of(explanation));
      CHECK(names(explanation, fault.cause));
    }
  }
}

TEST_CASE("rotary faults are named where no tape tells how", "[explain]") {
  for (const Fault& fault : faults())
    for (std::size_t shape = 0; shape < 2; ++shape) {
      if (fault.family != 1 || fault.cause == "rotary-applied") continue;
      World expected = make_world(shapes()[shape], DType::kF16, 700);
      World actual = expected;
      Numbers random(700);
      if (!fault.plant(expected, actual, random)) continue;
      Tape e = tape_of(expected);
      Tape a = tape_of(actual);
      for (RotarySpec* rotary : {&e.cache.rotary, &a.cache.rotary}) {
        rotary->style.reset();
        rotary->theta.reset();
      }
      const Explanation explanation = *diff(e, a).explanation;
      INFO(fault.what << ", shape " << shape);
      INFO(text_of(explanation));
      CHECK(names(explanation, fault.cause));
    }
}

TEST_CASE("the manual lists every cause", "[explain]") {
  const char* path = std::getenv("KVTAPE_DIFF_MAN");
  if (!path) return;
  std::ifstream file(path);
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  for (const Fault& fault : faults()) {
    INFO(fault.cause);
    CHECK(page.find(fault.cause) != page.npos);
  }
}

TEST_CASE("two faults are not one", "[explain]") {
  int tried = 0;
  int named = 0;
  std::uint64_t seed = 1000;
  for (const Fault& first : faults())
    for (const Fault& second : faults()) {
      if (first.family >= second.family) continue;
      for (int i = 0; i < (is_long() ? 12 : 1); ++i) {
        ++seed;
        const auto turn = static_cast<std::size_t>(i);
        const WorldShape& shape = shapes()[is_long() ? turn / 3 : seed % 2];
        World expected = make_world(shape, kDTypesTried[seed % 3], seed);
        World actual = expected;
        Numbers random(seed);
        if (!first.plant(expected, actual, random)) continue;
        const World one = actual;
        World before = expected;
        if (!second.plant(expected, actual, random)) continue;
        // The second one may ask for another expected cache.
        if (before.key.numbers != expected.key.numbers) continue;
        World other = before;
        Numbers again(seed);
        second.plant(before, other, again);
        if (!differ(before, one) || !differ(one, actual) ||
            !differ(other, actual))
          continue;
        ++tried;
        const Explanation explanation = explained(expected, actual);
        if (!explanation.found) continue;
        ++named;
        WARN(first.what << " and " << second.what << ", "
                        << name(kDTypesTried[seed % 3]) << ": "
                        << text_of(explanation));
      }
    }
  WARN(tried << " pairs, " << named << " named");
  CHECK(tried > 200);
  CHECK(named * 100 <= tried);
}

TEST_CASE("what has no known cause gets none", "[explain]") {
  const int count = is_long() ? 3000 : 1000;
  int tried = 0;
  int named = 0;
  std::uint64_t seed = 5000;
  while (tried < count) {
    ++seed;
    const Disturbance& disturbance =
        disturbances()[seed % disturbances().size()];
    const DType dtype = kDTypesTried[seed / 17 % 3];
    const WorldShape& shape = shapes()[seed / 51 % (is_long() ? 4 : 2)];
    const World expected = make_world(shape, dtype, seed);
    World actual = expected;
    Numbers random(seed);
    disturbance.plant(actual, random);
    if (!differ(expected, actual)) continue;
    ++tried;
    const Explanation explanation = explained(expected, actual);
    if (!explanation.found) continue;
    ++named;
    WARN(disturbance.what << ", " << name(dtype) << ": "
                          << text_of(explanation));
  }
  WARN(tried << " differences, " << named << " named");
  CHECK(named * 100 <= tried);
}

}  // namespace kvtape::tests
