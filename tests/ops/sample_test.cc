// Samples: every option against the float64 reference, the same bytes for the
// same seed, and every flaw found by what is said to find it.
#include "kvtape/sample.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "kvtape/error.h"
#include "kvtape/replay.h"
#include "kvtape/validate.h"
#include "reference/replay64.h"
#include "reference/storage64.h"

using namespace kvtape;

namespace {

struct Case {
  std::string name;
  SampleOptions options;
};

Case with(const std::string& name, void (*set)(SampleOptions&)) {
  Case made{.name = name};
  set(made.options);
  return made;
}

// Two rows, so that rows are told apart.
Case rows(const std::string& name, void (*set)(SampleOptions&)) {
  Case made{.name = name};
  made.options.batch_size = 2;
  set(made.options);
  return made;
}

using O = SampleOptions;

std::vector<Case> shapes() {
  return {
      with("default", [](O&) {}),
      rows("rows", [](O&) {}),
      with("one of all",
           [](O& o) {
             o.layers = o.key_heads = o.query_heads = o.key_dim = o.value_dim =
                 1;
             o.sequence_length = 2, o.prompt = 0, o.steps = 1;
           }),
      with("odd sizes",
           [](O& o) {
             o.layers = 3, o.key_heads = 3, o.query_heads = 9;
             o.key_dim = 7, o.value_dim = 5, o.sequence_length = 37;
           }),
      with("value heads", [](O& o) { o.value_heads = 1; }),
      with("multi-query", [](O& o) { o.key_heads = 1; }),
      with("tile", [](O& o) { o.head_map = HeadMap::kTile; }),
      with("long", [](O& o) { o.sequence_length = 1100; }),
      with("from empty", [](O& o) { o.filled = 0; }),
      with("no prompt", [](O& o) { o.prompt = 0; }),
      with("prompt alone", [](O& o) { o.steps = 0; }),
      rows("batch axes",
           [](O& o) {
             o.batch_axes = {2, 3};
             o.axes = "batch,head,position,dim";
           }),
  };
}

std::vector<Case> orders() {
  return {
      rows("penzai's order", [](O& o) { o.axes = "batch,dim,head,position"; }),
      rows("batch last", [](O& o) { o.axes = "position,head,dim,batch"; }),
      rows("head last", [](O& o) { o.axes = "batch,position,dim,head"; }),
      with("no head axis",
           [](O& o) {
             o.key_heads = 1;
             o.axes = "batch,dim,position";
           }),
      rows("stacked", [](O& o) { o.stacked = true; }),
      rows("stack in the middle",
           [](O& o) {
             o.stacked = true;
             o.axes = "batch,head,dim,layer,position";
           }),
  };
}

std::vector<Case> attention() {
  return {
      with("window", [](O& o) { o.window = 5; }),
      with("soft cap", [](O& o) { o.logit_softcap = 1.5; }),
      with("rotary half", [](O& o) { o.rotary = RotaryStyle::kHalf; }),
      with("rotary interleaved",
           [](O& o) { o.rotary = RotaryStyle::kInterleaved; }),
      rows("mask", [](O& o) { o.visibility = Visibility::kMask; }),
      rows("range", [](O& o) { o.visibility = Visibility::kRange; }),
      rows("mask and window",
           [](O& o) {
             o.visibility = Visibility::kMask;
             o.window = 3;
             o.padding = Padding::kLeft;
           }),
  };
}

std::vector<Case> layouts() {
  return {
      rows("ring", [](O& o) { o.layout = Layout::kRing; }),
      rows("ring of a window",
           [](O& o) {
             o.layout = Layout::kRing;
             o.window = 8;
           }),
      rows("ring with a mask",
           [](O& o) {
             o.layout = Layout::kRing;
             o.window = 12;
             o.visibility = Visibility::kMask;
           }),
      rows("ring not yet full",
           [](O& o) {
             o.layout = Layout::kRing;
             o.filled = 4;
           }),
      rows("shift", [](O& o) { o.layout = Layout::kShift; }),
      rows("shift of a window",
           [](O& o) {
             o.layout = Layout::kShift;
             o.window = 9;
             o.axes = "batch,head,dim,position";
           }),
      rows("growing", [](O& o) { o.layout = Layout::kGrowing; }),
      rows("growing from empty",
           [](O& o) {
             o.layout = Layout::kGrowing;
             o.filled = 0;
           }),
      rows("growing with rotary",
           [](O& o) {
             o.layout = Layout::kGrowing;
             o.rotary = RotaryStyle::kHalf;
             o.padding = Padding::kLeft;
             o.masked_rows = MaskedRows::kZeros;
           }),
      rows("growing with a mask",
           [](O& o) {
             o.layout = Layout::kGrowing;
             o.visibility = Visibility::kMask;
           }),
      rows("keys in the cache", [](O& o) { o.keys_in_cache = true; }),
      rows("keys in a growing cache",
           [](O& o) {
             o.keys_in_cache = true;
             o.layout = Layout::kGrowing;
             o.padding = Padding::kLeft;
             o.rotary = RotaryStyle::kInterleaved;
           }),
      rows("keys in a ring",
           [](O& o) {
             o.keys_in_cache = true;
             o.layout = Layout::kRing;
           }),
  };
}

std::vector<Case> paddings() {
  std::vector<Case> result;
  for (const Padding padding : {Padding::kLeft, Padding::kRight})
    for (const Layout layout :
         {Layout::kLinear, Layout::kRing, Layout::kShift, Layout::kGrowing})
      for (const bool empty : {false, true}) {
        O options{.batch_size = 3, .padding = padding, .layout = layout};
        if (empty) options.filled = 0;
        result.push_back(
            {std::string(padding == Padding::kLeft ? "left " : "right ") +
                 std::string(name(layout)) + (empty ? " from empty" : ""),
             options});
      }
  for (const MaskedRows masked : {MaskedRows::kUniform, MaskedRows::kZeros}) {
    O options{.batch_size = 3, .padding = Padding::kLeft};
    options.filled = 0;
    options.masked_rows = masked;
    result.push_back({"rows that see nothing", options});
  }
  return result;
}

std::vector<Case> storages() {
  std::vector<Case> result;
  for (const DType dtype : {DType::kF64, DType::kF16, DType::kBF16})
    for (const Layout layout : {Layout::kLinear, Layout::kGrowing})
      result.push_back(
          {std::string(name(dtype)), {.layout = layout, .dtype = dtype}});
  using Scheme = Quantization::Scheme;
  for (const Scheme scheme : {Scheme::kInt8, Scheme::kNF4})
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
      result.push_back({"quantized " + std::string(name(dtype)),
                        {.batch_size = 2,
                         .dtype = dtype,
                         .quantization = scheme,
                         .block_size = 8}});
  return result;
}

// Relative to the largest: f32 sums; and what rounding an output costs.
double tolerance(DType dtype) {
  if (dtype == DType::kF16) return 1e-3;
  return dtype == DType::kBF16 ? 8e-3 : 1e-6;
}

void check_near(const std::vector<double>& actual,
                const std::vector<double>& expected, double relative) {
  REQUIRE(actual.size() == expected.size());
  double largest = 0;
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    largest = std::max(largest, std::fabs(expected[i]));
    const double error = std::fabs(actual[i] - expected[i]);
    worst = error <= worst ? worst : error;
  }
  CHECK(worst <= relative * largest);
}

void check_against_reference(const SampleOptions& options, const Tape& tape) {
  for (const auto& [number, layer] : reference::replay64(tape)) {
    CAPTURE(number);
    CHECK(layer.refused == "");
    const LayerTrace& trace = tape.trace->layers.at(number);
    check_near(doubles(trace.output.value()), layer.output,
               tolerance(options.dtype));
    if (!tape.final_state) continue;
    const LayerCache& last = tape.final_state->layers.at(number);
    CHECK(reference::elements(last.key.value()) == layer.key);
    CHECK(reference::elements(last.value.value()) == layer.value);
    CHECK(integers(last.index.value()) == layer.index);
  }
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += f.rule + " " + f.object + " " + f.field + ": expected " +
            f.expected + ", found " + f.found + "\n";
  return text;
}

void check_sound(const Tape& tape) {
  const ReplayReport replayed = replay(tape);
  CHECK(replayed.not_compared.empty());
  CHECK(replayed.out_of_tolerance == 0);
  CHECK(findings_text(replayed.findings) == "");
  for (const FinalComparison& last : replayed.final_state) {
    CAPTURE(last.object, last.first);
    CHECK(last.differing == 0);
  }
  CHECK(replayed.success());
}

void check_all(const std::vector<Case>& cases) {
  for (const auto& [name, options] : cases) {
    CAPTURE(name);
    const Tape tape = make_sample(options);
    check_against_reference(options, tape);
    check_sound(tape);
    const auto found = validate(tape, {.values = true}).findings;
    if (options.value_heads)  // EasyDeL's attention refuses it
      CHECK(findings_text(found).substr(0, 3) == "W11");
    else
      CHECK(findings_text(found) == "");
  }
}

std::map<std::string, std::vector<double>> contents(const Tape& tape) {
  std::map<std::string, std::vector<double>> result;
  for (const auto& [number, layer] : tape.cache.layers) {
    result["key" + std::to_string(number)] = doubles(*layer.key);
    result["value" + std::to_string(number)] = doubles(*layer.value);
  }
  if (tape.trace)
    for (const auto& [number, layer] : tape.trace->layers) {
      result["query" + std::to_string(number)] = doubles(*layer.query);
      result["output" + std::to_string(number)] = doubles(*layer.output);
    }
  return result;
}

std::string refused(const SampleOptions& options) {
  try {
    make_sample(options);
  } catch (const Error& error) {
    return error.parts().field;
  }
  return "";
}

}  // namespace

TEST_CASE("samples of every shape are right") { check_all(shapes()); }
TEST_CASE("samples in every order are right") { check_all(orders()); }
TEST_CASE("samples of every attention are right") { check_all(attention()); }
TEST_CASE("samples of every layout are right") { check_all(layouts()); }
TEST_CASE("padded samples are right") { check_all(paddings()); }
TEST_CASE("samples of every storage are right") { check_all(storages()); }

TEST_CASE("rows that see nothing may give NaN") {
  SampleOptions options{.batch_size = 2, .padding = Padding::kLeft};
  options.filled = 0;
  options.masked_rows = MaskedRows::kNaN;
  const Tape tape = make_sample(options);
  check_against_reference(options, tape);
  check_sound(tape);
  CHECK(std::isnan(doubles(*tape.trace->layers.at(0).output).at(0)));
}

TEST_CASE("a seed gives the same numbers, another one others") {
  const auto first = contents(make_sample({.seed = 1}));
  CHECK(first == contents(make_sample({.seed = 1})));
  const auto other = contents(make_sample({.seed = 2}));
  for (const auto& [name, numbers] : first) {
    CAPTURE(name);
    CHECK(numbers != other.at(name));
  }
}

TEST_CASE("the numbers of a seed are these, on any machine") {
  const Tape tape = make_sample({.seed = 7});
  const auto keys = doubles(*tape.cache.layers.at(1).key);
  const auto outputs = doubles(*tape.trace->layers.at(1).output);
  CHECK(keys.at(0) == Approx(0.1779960543));
  std::uint64_t sum = 0;  // of all bits, each at its place
  for (const auto* numbers : {&keys, &outputs})
    for (const double number : *numbers)
      sum = sum * 31 + std::bit_cast<std::uint32_t>(static_cast<float>(number));
  CHECK(sum == 0x4508eb3040949c88U);
}

TEST_CASE("numbers do not depend on order, stacking or length") {
  const auto plain = contents(make_sample({.batch_size = 2}));
  CHECK(plain == contents(make_sample({.batch_size = 2,
                                       .axes = "dim,head,batch,position",
                                       .stacked = true})));
  const auto longer = make_sample({.sequence_length = 48, .filled = 16});
  const auto shorter = make_sample({.sequence_length = 32, .filled = 16});
  CHECK(contents(longer).at("output1") == contents(shorter).at("output1"));
}

TEST_CASE("numbers look like keys: centred, spread, all different") {
  const Tape tape = make_sample({.sequence_length = 512, .trace = false});
  const auto keys = doubles(*tape.cache.layers.at(1).value);
  double sum = 0;
  double squares = 0;
  for (const double key : keys) {
    sum += key;
    squares += key * key;
  }
  const auto count = static_cast<double>(keys.size());
  CHECK(std::fabs(sum / count) < 0.1);
  CHECK(squares / count > 0.5);
  CHECK(squares / count < 2.5);
}

TEST_CASE("a sample without a trace is a full cache") {
  const Tape tape = make_sample({.trace = false});
  CHECK_FALSE(tape.trace);
  CHECK_FALSE(tape.final_state);
  CHECK(integers(*tape.cache.layers.at(0).index).at(0) == 32);
  CHECK(findings_text(validate(tape, {.values = true}).findings) == "");
}

TEST_CASE("options that contradict each other are refused") {
  CHECK(refused({.layers = 0}) == "layers");
  CHECK(refused({.key_heads = 3, .query_heads = 4}) == "query heads");
  CHECK(refused({.value_heads = 3}) == "query heads");
  CHECK(refused({.sequence_length = 8}) == "filled, prompt and steps");
  CHECK(refused({.filled = 30}) == "filled, prompt and steps");
  CHECK(refused({.axes = "batch,dim,position"}) == "axes");
  CHECK(refused({.axes = "batch,dim,position,head,head"}) == "axes");
  CHECK(refused({.axes = "batch,layer,position,head,dim"}) == "axes");
  CHECK(refused({.axes = ""}) == "axes");
  CHECK(refused({.batch_axes = {2, 0}}) == "batch axes");
  CHECK(refused({.window = 4, .layout = Layout::kRing}) == "prompt");
  CHECK(
      refused({.steps = 40, .layout = Layout::kRing, .keys_in_cache = true}) ==
      "keys in cache");
  CHECK(refused({.batch_size = std::int64_t{1} << 60}) == "sizes");
  CHECK(refused({.key_dim = 12,
                 .quantization = Quantization::Scheme::kNF4,
                 .block_size = 8}) == "block size");
  CHECK(refused({.layout = Layout::kGrowing,
                 .quantization = Quantization::Scheme::kInt8}) ==
        "quantization");
}

namespace {

bool validate_finds(const Tape& tape, bool values, bool warnings) {
  for (const Finding& f : validate(tape, {.values = values}).findings)
    if (warnings || f.severity() == Severity::kError) return true;
  return false;
}

// What `command` says of the tape: true where it finds something.
bool finds(std::string_view command, const Tape& tape) {
  const auto has = [&](std::string_view word) {
    return command.find(word) != std::string_view::npos;
  };
  if (has("replay")) return !replay(tape).success();
  return validate_finds(tape, has("--values"), has("--strict"));
}

SampleOptions options_for(std::string_view flaw) {
  SampleOptions options;
  if (flaw == "rotary") options.rotary = RotaryStyle::kHalf;
  return options;
}

}  // namespace

TEST_CASE("every flaw is found by what is said to find it") {
  for (const Flaw& flaw : flaws()) {
    if (flaw.name == "cut") continue;  // of the file
    CAPTURE(flaw.name, flaw.found_by);
    Tape tape = make_sample(options_for(flaw.name));
    CHECK_FALSE(finds(flaw.found_by, tape));
    plant_flaw(tape, flaw.name);
    CHECK(finds(flaw.found_by, tape));
  }
}

TEST_CASE("flaws go into any order, stack and dtype") {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF64})
    for (const Flaw& flaw : flaws()) {
      if (flaw.name == "cut" || flaw.name == "shape" || flaw.name == "dtype")
        continue;
      CAPTURE(flaw.name, flaw.found_by, name(dtype));
      SampleOptions options = options_for(flaw.name);
      options.dtype = dtype;
      options.axes = "batch,head,dim,position";
      options.stacked = true;
      Tape tape = make_sample(options);
      plant_flaw(tape, flaw.name);
      CHECK(finds(flaw.found_by, tape));
    }
}

TEST_CASE("a flaw that a tape cannot have is refused") {
  Tape small = make_sample({.layers = 1,
                            .key_heads = 1,
                            .query_heads = 1,
                            .sequence_length = 1,
                            .prompt = 0,
                            .steps = 0,
                            .trace = false});
  for (const std::string_view name :
       {"head-swap", "repeat", "shift", "stale", "dtype", "heads", "drift",
        "scale", "mask", "window", "rotary", "final", "index", "shape"}) {
    CAPTURE(name);
    CHECK_THROWS_AS(plant_flaw(small, name), Error);
  }
  CHECK_THROWS_AS(plant_flaw(small, "nonsense"), Error);
}

TEST_CASE("the man page tells every flaw and what finds it") {
  std::ifstream file(std::getenv("KVTAPE_SAMPLE_MAN"));
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(page.size() > 1000);
  for (const Flaw& flaw : flaws()) {
    CAPTURE(flaw.name);
    const auto item = page.find(".It Cm " + std::string(flaw.name) + "\n");
    REQUIRE(item != std::string::npos);
    const std::string text =
        page.substr(item, page.find(".It", item + 1) - item);
    CHECK(text.find(flaw.what.substr(1)) != std::string::npos);
    for (const std::string_view word :
         {"validate", "replay", "-values", "-strict", "any command"})
      CHECK((text.find(word, text.find("Found")) != std::string::npos) ==
            (flaw.found_by.find(word) != std::string_view::npos));
  }
}
