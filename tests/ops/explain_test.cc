// Every planted fault must be named; what is not one must not be.
#include "ops/explain.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>

#include "explain_faults.h"

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
       .style = RotaryStyle::kInterleaved},
      {.layers = 4,
       .rows = 3,
       .heads = 6,
       .key_dim = 64,
       .value_dim = 32,
       .extent = 40,
       .index = {40, 30, 35},
       .starts = {0, 0, 0}},
      {.layers = 3,
       .rows = 2,
       .heads = 8,
       .key_dim = 32,
       .value_dim = 32,
       .extent = 48,
       .index = {44, 44},
       .starts = {3, 7},
       .theta = 500000},
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

bool names(const Explanation& explanation, const std::string& cause) {
  if (!explanation.found) return false;
  const Evidence& first = explanation.evidence.front();
  return first.cause == cause ||
         std::count(first.same_as.begin(), first.same_as.end(), cause) > 0;
}

}  // namespace

TEST_CASE("every planted fault is named", "[explain]") {
  int planted = 0;
  std::map<std::string, std::set<std::string>> classes;
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
            classes[fault.cause].insert(other);
      }
  for (const auto& [cause, others] : classes) {
    std::string text = cause + " is also";
    for (const std::string& other : others) text += " " + other;
    WARN(text);
  }
  WARN(planted << " faults planted");
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
        if (!differ(one, actual) || !differ(other, actual)) continue;
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
