// The grammar of --select.
#include "kvtape/selection.h"

#include <catch2/catch.hpp>

#include "kvtape/error.h"

namespace kvtape {
namespace {

IndexRange to_end(std::int64_t first) { return {.first = first, .last = {}}; }

TEST_CASE("a selection names fields and ranges") {
  const Selection selection =
      parse_selection("layer=0:4,row=0,head=2,position=-16:,kind=key");
  CHECK(selection.layer == IndexRange{.first = 0, .last = 4});
  CHECK(selection.row == IndexRange{.first = 0, .last = 1});
  CHECK(selection.head == IndexRange{.first = 2, .last = 3});
  CHECK(selection.position == to_end(-16));
  CHECK(selection.kind == TensorKind::kKey);
  CHECK(!selection.whole());
  CHECK(Selection{}.whole());
  CHECK(parse_selection("kind=value").kind == TensorKind::kValue);
  CHECK(parse_selection("batch=-1").row == to_end(-1));
  CHECK(parse_selection("row=:").row == to_end(0));
  CHECK(parse_selection("row=-2").row == IndexRange{.first = -2, .last = -1});
}

TEST_CASE("ranges are as Python's, but never reach out of what there is") {
  const auto of = [](const char* text, std::int64_t count) {
    return resolved(parse_selection(text).layer, count, "layer");
  };
  CHECK(of("layer=3", 12) == Interval{3, 4});
  CHECK(of("layer=-1", 12) == Interval{11, 12});
  CHECK(of("layer=-3", 12) == Interval{9, 10});
  CHECK(of("layer=-3:", 12) == Interval{9, 12});
  CHECK(of("layer=:-3", 12) == Interval{0, 9});
  CHECK(of("layer=:", 12) == Interval{0, 12});
  CHECK(of("layer=0:12", 12) == Interval{0, 12});
  CHECK(resolved({}, 0, "layer") == Interval{0, 0});
  for (const char* bad :
       {"layer=12", "layer=-13", "layer=4:4", "layer=5:4", "layer=0:13",
        "layer=12:", "layer=:-12", "layer=9223372036854775807",
        "layer=-9223372036854775808:"}) {
    INFO(bad);
    CHECK_THROWS_AS(of(bad, 12), Error);
  }
  CHECK_THROWS_AS(of("layer=:", 0), Error);
}

TEST_CASE("a range that is not there says which are") {
  try {
    resolved(parse_selection("layer=12").layer, 12, "layer");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) ==
          "--select: layer: expected numbers in 0:12, found 12");
  }
}

TEST_CASE("what cannot be read is named, with what is expected") {
  const auto what = [](const char* text) -> std::string {
    try {
      parse_selection(text);
    } catch (const Error& error) {
      CHECK(!error.parts().hint.empty());
      return error.what();
    }
    return "accepted";
  };
  CHECK(what("") == "--select: expected FIELD=RANGE, found ''");
  CHECK(what("layer") == "--select: expected FIELD=RANGE, found 'layer'");
  CHECK(what("layers=1") ==
        "--select: expected layer, row, head, position or kind, found "
        "'layers'");
  CHECK(what("layer=") ==
        "--select: layer: expected a number or a range, found ''");
  CHECK(what("head=1:2:3") ==
        "--select: head: expected a number or a range, found '1:2:3'");
  CHECK(what("head=+1") ==
        "--select: head: expected a number or a range, found '+1'");
  CHECK(what("head=99999999999999999999") ==
        "--select: head: expected a number or a range, found "
        "'99999999999999999999'");
  CHECK(what("kind=keys") ==
        "--select: kind: expected key or value, found 'keys'");
  CHECK(what("row=1,batch=2") ==
        "--select: batch: expected each field once, found '2'");
  CHECK(what("kind=key,kind=key") ==
        "--select: kind: expected each field once, found 'key'");
  CHECK(what("row=1,") == "--select: expected FIELD=RANGE, found ''");
}

}  // namespace
}  // namespace kvtape
