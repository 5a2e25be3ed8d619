// Every rule finds its flaw, and nothing else does.
#include "kvtape/validate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <set>

#include "core/natural.h"
#include "ops/tapes.h"
#include "ops/validate_samples.h"

namespace kvtape {
namespace {

std::vector<test::RuleSample> all_samples() {
  std::vector<test::RuleSample> all = test::structure_samples();
  const auto& values = test::value_samples();
  all.insert(all.end(), values.begin(), values.end());
  return all;
}

// E01 to E09 and W01 to W09: the reader of files finds them.
bool needs_values(std::string_view id) {
  const auto rules = validation_rules();
  return std::find_if(rules.begin(), rules.end(),
                      [&](const Rule& rule) { return rule.id == id; })
      ->values;
}

bool is_of_the_reader(std::string_view id) { return id[1] == '0'; }

std::set<std::string> rules_in(const std::vector<Finding>& findings) {
  std::set<std::string> ids;
  for (const Finding& finding : findings) ids.insert(finding.rule);
  return ids;
}

TEST_CASE("a sound tape gives no finding") {
  const ValidationReport report =
      validate(test::sound_tape(), {.values = true});
  for (const Finding& finding : report.findings)
    UNSCOPED_INFO(finding.rule << " " << finding.object << " "
                               << finding.found);
  CHECK(report.findings.empty());
  CHECK(report.values);
}

TEST_CASE("ids are unique, sorted, and every rule says what to do") {
  const auto rules = validation_rules();
  CHECK(rules.size() >= 45);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    CAPTURE(rules[i].id);
    if (i > 0) CHECK(rules[i - 1].id < rules[i].id);
    CHECK(rules[i].id.size() == 3);
    CHECK_FALSE(rules[i].summary.empty());
    CHECK_FALSE(rules[i].fix.empty());
  }
}

TEST_CASE("the man page says of every rule what it means, and of no other") {
  const char* path = std::getenv("KVTAPE_VALIDATE_MAN");
  REQUIRE(path != nullptr);
  std::ifstream page(path);
  REQUIRE(page.is_open());
  const std::string item = ".It Sy ";
  std::set<std::string> in_page;
  std::string line;
  while (std::getline(page, line)) {
    if (!line.starts_with(item)) continue;
    CAPTURE(line);
    CHECK(in_page.insert(line.substr(item.size())).second);
    REQUIRE(std::getline(page, line));
    CHECK_FALSE(line.starts_with("."));
  }
  std::set<std::string> in_table;
  for (const Rule& rule : validation_rules()) in_table.emplace(rule.id);
  CHECK(in_page == in_table);
}

TEST_CASE("every rule has a sample that breaks it") {
  std::set<std::string_view> sampled;
  for (const test::RuleSample& sample : all_samples())
    sampled.insert(sample.rule);
  for (const Rule& rule : validation_rules()) {
    CAPTURE(rule.id);
    CHECK(sampled.contains(rule.id) != is_of_the_reader(rule.id));
  }
}

TEST_CASE("a sample breaks its rule and no other") {
  for (const test::RuleSample& sample : all_samples()) {
    CAPTURE(sample.rule);
    const bool values = needs_values(sample.rule);
    const Tape tape = sample.make();
    const ValidationReport report = validate(tape, {.values = values});
    if (values) CHECK(validate(tape).findings.empty());
    CHECK(rules_in(report.findings) ==
          std::set<std::string>{std::string(sample.rule)});
    CHECK(std::any_of(
        report.findings.begin(), report.findings.end(),
        [&](const Finding& f) { return f.object == sample.object; }));
    for (const Finding& finding : report.findings) {
      CAPTURE(finding.object);
      CHECK_FALSE(finding.field.empty());
      CHECK_FALSE(finding.expected.empty());
      CHECK_FALSE(finding.found.empty());
      CHECK_FALSE(finding.fix.empty());
    }
  }
}

TEST_CASE("values are looked at however broken the structure is") {
  for (const test::RuleSample& sample : test::structure_samples()) {
    CAPTURE(sample.rule);
    const Tape tape = sample.make();
    const auto structure = validate(tape).findings;
    std::vector<Finding> all;
    REQUIRE_NOTHROW(all = validate(tape, {.values = true}).findings);
    for (const Finding& finding : structure)
      CHECK(std::count(all.begin(), all.end(), finding) == 1);
  }
}

TEST_CASE("the reader's findings are passed on and sorted among the others") {
  test::TapeShape shape;
  shape.layers = 12;
  Tape tape = test::sound_tape(shape);
  tape.findings = {{.rule = "W02", .object = "/zebra", .field = "object"},
                   {.rule = "E02", .object = "/layers/2", .field = "window"}};
  tape.cache.layers[10].window = -1;
  tape.cache.layers[2].window = -1;
  const auto findings = validate(tape).findings;
  REQUIRE(findings.size() == 4);
  CHECK(findings[0].rule == "E02");
  CHECK(findings[1].object == "/layers/2");
  CHECK(findings[1].rule == "E35");
  CHECK(findings[2].object == "/layers/10");
  CHECK(findings[3].object == "/zebra");
}

TEST_CASE("a finding names counts, place and fix") {
  Tape tape = test::sound_tape();
  for (auto& [number, layer] : tape.cache.layers)
    layer.index = test::int_tensor(test::row_axis(2), {3, 11});
  tape.trace.reset();
  tape.final_state.reset();
  const auto findings = validate(tape).findings;
  REQUIRE(findings.size() == 3);
  CHECK(findings[0].rule == "E29");
  CHECK(findings[0].object == "/layers/0/index");
  CHECK(findings[0].expected == "at most 8");
  CHECK(findings[0].found == "11 in row 1");
}

}  // namespace
}  // namespace kvtape
