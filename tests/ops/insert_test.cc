// One cache into a slot of another.
#include "kvtape/insert.h"

#include <catch2/catch.hpp>

#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "kvtape/transform.h"
#include "ops/tapes.h"

namespace kvtape {
namespace {

using Catch::Matchers::Contains;

Tape batch_of(std::int64_t rows) {
  test::TapeShape shape;
  shape.batch = rows;
  return test::sound_tape(shape);
}

Cache row_of(const Tape& tape, std::int64_t row) {
  return select(without_trace(tape),
                {.row = IndexRange{.first = row, .last = row + 1}})
      .tape.cache;
}

TEST_CASE("rows are inserted, masks too, and nothing else changes") {
  const Tape into = batch_of(3);
  Tape other = batch_of(2);
  for (auto& [number, layer] : other.cache.layers)
    std::swap(layer.key, layer.value);
  const InsertReport report = insert(into, other, 1);
  CHECK(report.refused.empty());
  CHECK(report.rows == 2);
  CHECK(report.batch == 3);
  CHECK_FALSE(report.tape.trace);
  CHECK_FALSE(report.tape.final_state);
  CHECK_FALSE(first_difference(row_of(report.tape, 0), row_of(into, 0)));
  CHECK_FALSE(first_difference(row_of(report.tape, 1), row_of(other, 0)));
  CHECK_FALSE(first_difference(row_of(report.tape, 2), row_of(other, 1)));
}

TEST_CASE("what does not fit is refused, or moved") {
  const Tape into = batch_of(3);
  const Tape other = batch_of(1);
  const InsertReport refused = insert(into, other, 5);
  CHECK_THAT(refused.refused, Contains("EasyDeL writes from row 2 on"));
  CHECK_FALSE(first_difference(refused.tape.cache, into.cache));
  const InsertReport done = insert(into, other, 5, Mode::kFaithful);
  CHECK(done.refused.empty());
  CHECK_FALSE(first_difference(row_of(done.tape, 2), row_of(other, 0)));
  CHECK_THROWS_WITH(insert(other, into, 0), Contains("dynamic_update_slice"));
}

TEST_CASE("both caches have masks of the same columns, or none") {
  const Tape into = batch_of(3);
  Tape other = batch_of(1);
  REQUIRE(into.cache.attention_mask);
  other.cache.attention_mask.reset();
  CHECK_THROWS_WITH(insert(into, other, 0), Contains("/attention_mask"));
}

}  // namespace
}  // namespace kvtape
