// The text of `validate`.
#include "report/validation.h"

#include <catch2/catch.hpp>

#include "samples.h"

namespace kvtape {
namespace {

TEST_CASE("validate tells every finding and how to mend it") {
  CHECK(validation_text(samples::unsound(), {}, 0) ==
        R"(run42.h5: 2 errors, 1 warning (31 rules, metadata only)
  warning W03 /layers/3/key              dtype: expected f16, found f32
          fix: kvtape convert --dtype f16
  error   E07 /layers/7/value            shape: expected [1, 1024, 8, 64], found [1, 1023, 8, 64]
          fix: dump layer 7 again, or set sequence_length to 1023
  error   E12 a\x1b[2J\u202e\xff"<&\x0a  found a\x1b[2J\u202e\xff"<&\x0a
)");
}

TEST_CASE("validate counts what it leaves out") {
  CHECK(validation_text(samples::unsound(), {}, 1) ==
        R"(run42.h5: 2 errors, 1 warning (31 rules, metadata only)
  warning W03 /layers/3/key  dtype: expected f16, found f32
          fix: kvtape convert --dtype f16
  ... 2 more
)");
  CHECK(validation_text(samples::unsound(), {}, 3) ==
        validation_text(samples::unsound(), {}, 0));
}

TEST_CASE("validate tells once what layers share") {
  NamedValidation shared = samples::unsound();
  const auto finding = [](std::string object, std::string found) {
    return Finding{"E07", std::move(object), "shape",
                   "[8]", std::move(found),  ""};
  };
  shared.report.findings = {
      finding("/layers/0/key", "[7]"),  finding("/layers/0/value", "[7]"),
      finding("/layers/1/key", "[7]"),  finding("/layers/1/value", "[6]"),
      finding("/layers/3/key", "[7]"),  finding("/layers/3/value", "[7]"),
      finding("/layers/03/key", "[7]"), finding("/metadata", "[7]")};
  CHECK(validation_text(shared, {}, 0) ==
        R"(run42.h5: 8 errors (31 rules, metadata only)
  error   E07 /layers/0-1,3/key  shape: expected [8], found [7]
  error   E07 /layers/0,3/value  shape: expected [8], found [7]
  error   E07 /layers/1/value    shape: expected [8], found [6]
  error   E07 /layers/03/key     shape: expected [8], found [7]
  error   E07 /metadata          shape: expected [8], found [7]
)");
  CHECK(validation_text(shared, {}, 1) ==
        R"(run42.h5: 8 errors (31 rules, metadata only)
  error   E07 /layers/0-1,3/key  shape: expected [8], found [7]
  ... 5 more
)");
  CHECK_THAT(validation_text(shared, {.verbosity = 1}, 0),
             Catch::Contains("/layers/3/key   ") &&
                 Catch::Contains("/layers/1/key   "));
}

TEST_CASE("validate says of a sound file that it is") {
  CHECK(validation_text(samples::sound(), {}, 0) ==
        "run42.h5: sound (45 rules, metadata and values)\n");
}

TEST_CASE("validate in colour says the same") {
  std::string text = validation_text(samples::unsound(), {.color = true}, 0);
  CHECK_THAT(text, Catch::Contains("\x1b[31m2 errors\x1b[0m"));
  for (std::size_t at = 0; (at = text.find('\x1b')) != text.npos;) {
    text.erase(at, text.find('m', at) + 1 - at);
  }
  CHECK(text == validation_text(samples::unsound(), {}, 0));
}

TEST_CASE("every rule is listed") {
  const std::string text = rules_text({.verbosity = 1});
  const std::string json = rules_json();
  for (const Rule& rule : validation_rules()) {
    CHECK_THAT(text, Catch::Contains(std::string(rule.summary)));
    CHECK_THAT(text, Catch::Contains("fix: " + std::string(rule.fix)));
    CHECK_THAT(json, Catch::Contains(std::string("\"").append(rule.id) + '"'));
  }
}

}  // namespace
}  // namespace kvtape
