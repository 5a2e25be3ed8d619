// Samples of random options: refused, or right by the float64 reference and
// sound for replay and validate.
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <sstream>

#include "kvtape/error.h"
#include "kvtape/replay.h"
#include "kvtape/sample.h"
#include "kvtape/validate.h"
#include "reference/replay64.h"
#include "reference/storage64.h"

using namespace kvtape;

namespace {

using Random = std::mt19937_64;

std::int64_t pick(Random& random, std::initializer_list<std::int64_t> from) {
  return from.begin()[random() % from.size()];
}

template <typename Enum>
Enum one_of(Random& random, std::initializer_list<Enum> from) {
  return from.begin()[random() % from.size()];
}

std::string axes_of(Random& random, const SampleOptions& o) {
  std::vector<std::string> names{"batch", "position", "dim"};
  if (o.key_heads != 1 || random() % 2 == 0) names.push_back("head");
  if (o.stacked && random() % 2 == 0) names.push_back("layer");
  if (random() % 3 == 0) return SampleOptions{}.axes;
  for (std::size_t i = names.size(); i > 1; --i)
    std::swap(names[i - 1], names[random() % i]);
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ",") + name;
  return text;
}

void set_sizes(Random& random, SampleOptions& o) {
  o.batch_size = pick(random, {1, 1, 2, 3});
  if (random() % 6 == 0) o.batch_axes = {2, 2};
  o.layers = pick(random, {1, 2});
  o.key_heads = pick(random, {1, 2, 3});
  o.query_heads = o.key_heads * pick(random, {1, 2, 4});
  o.key_dim = pick(random, {1, 2, 8, 16, 24});
  o.value_dim = pick(random, {o.key_dim, o.key_dim, 1, 8, 20});
  o.sequence_length = pick(random, {1, 9, 17, 32, 70, 600});
  o.prompt = pick(random, {0, 1, 3, 8});
  o.steps = pick(random, {0, 1, 4, 20});
  o.window = pick(random, {0, 0, 1, 4, 9});
  if (random() % 3 == 0) o.filled = pick(random, {0, 0, 1, 5, 12, 40});
}

SampleOptions options_of(Random& random) {
  SampleOptions o;
  set_sizes(random, o);
  o.logit_softcap = random() % 4 == 0 ? 2.5 : 0;
  o.padding = one_of(random, {Padding::kNone, Padding::kLeft, Padding::kRight});
  o.layout = one_of(random, {Layout::kLinear, Layout::kRing, Layout::kShift,
                             Layout::kGrowing});
  o.head_map = one_of(random, {HeadMap::kRepeat, HeadMap::kTile});
  o.visibility = one_of(random, {Visibility::kCausal, Visibility::kCausal,
                                 Visibility::kMask, Visibility::kRange});
  o.masked_rows = one_of(random, {MaskedRows::kUniform, MaskedRows::kZeros});
  o.rotary = one_of(random, {RotaryStyle::kNone, RotaryStyle::kHalf,
                             RotaryStyle::kInterleaved});
  o.dtype =
      one_of(random, {DType::kF32, DType::kF64, DType::kF16, DType::kBF16});
  o.stacked = random() % 4 == 0;
  o.axes = axes_of(random, o);
  if (random() % 4 == 0)
    o.quantization = one_of(
        random, {Quantization::Scheme::kInt8, Quantization::Scheme::kNF4});
  o.block_size = pick(random, {4, 8, 64});
  o.keys_in_cache = random() % 4 == 0;
  o.seed = random();
  return o;
}

std::string text_of(const SampleOptions& o) {
  std::ostringstream out;
  out << "rows " << o.batch_size << " axes " << o.batch_axes.size()
      << " layers " << o.layers << " heads " << o.key_heads << '/'
      << o.query_heads << " dims " << o.key_dim << '/' << o.value_dim
      << " length " << o.sequence_length << " filled " << o.filled.value_or(-1)
      << " prompt " << o.prompt << " steps " << o.steps << " window "
      << o.window << " cap " << o.logit_softcap << " padding "
      << static_cast<int>(o.padding) << ' ' << name(o.layout) << ' '
      << name(o.head_map) << ' ' << name(o.visibility) << ' '
      << name(o.masked_rows) << " rotary " << name(o.rotary) << ' '
      << name(o.dtype) << " quantization " << static_cast<int>(o.quantization)
      << '/' << o.block_size << ' ' << o.axes << (o.stacked ? " stacked" : "")
      << (o.keys_in_cache ? " keys in cache" : "") << " seed " << o.seed;
  return out.str();
}

double tolerance(DType dtype) {
  if (dtype == DType::kF16) return 1e-3;
  return dtype == DType::kBF16 ? 8e-3 : 2e-6;
}

bool near(const std::vector<double>& actual,
          const std::vector<double>& expected, double relative) {
  double largest = 0.1;  // a single output may be nearly 0
  for (const double number : expected)
    largest = std::max(largest, std::fabs(number));
  if (actual.size() != expected.size()) return false;
  for (std::size_t i = 0; i < actual.size(); ++i)
    if (!(std::fabs(actual[i] - expected[i]) <= relative * largest))
      return false;
  return true;
}

void check_reference(const SampleOptions& o, const Tape& tape) {
  for (const auto& [number, layer] : reference::replay64(tape)) {
    CAPTURE(number);
    REQUIRE(layer.refused == "");
    const auto outputs = doubles(*tape.trace->layers.at(number).output);
    CHECK(near(outputs, layer.output, tolerance(o.dtype)));
    if (!tape.final_state) continue;
    const LayerCache& last = tape.final_state->layers.at(number);
    CHECK(reference::elements(*last.key) == layer.key);
    CHECK(reference::elements(*last.value) == layer.value);
    CHECK(integers(*last.index) == layer.index);
  }
}

// Warnings that tell the truth about what was asked for.
bool expected(const std::string& rule) { return rule == "W26"; }

void check(const SampleOptions& o, const Tape& tape) {
  for (const Finding& f : validate(tape, {.values = true}).findings)
    if (!expected(f.rule))
      FAIL_CHECK(f.rule + " " + f.object + " " + f.field + ": expected " +
                 f.expected + ", found " + f.found);
  if (!tape.trace) return;
  check_reference(o, tape);
  const ReplayReport report = replay(tape);
  CHECK(report.success());
  for (const Finding& f : report.findings) FAIL_CHECK(f.rule + f.found);
  for (const auto& last : report.final_state)
    if (!last.first.empty()) FAIL_CHECK(last.object + ": " + last.first);
}

}  // namespace

TEST_CASE("samples of random options are refused or right") {
  const char* more = std::getenv("KVTAPE_RANDOM_SAMPLES");
  const int count = more == nullptr ? 200 : std::atoi(more);
  Random random(static_cast<std::uint64_t>(count));
  int made = 0;
  for (int i = 0; i < count; ++i) {
    const SampleOptions o = options_of(random);
    CAPTURE(text_of(o));
    std::optional<Tape> tape;
    try {
      tape = make_sample(o);
    } catch (const Error& error) {
      if (error.parts().object != "sample") FAIL_CHECK(error.what());
      continue;
    }
    ++made;
    check(o, *tape);
  }
  CHECK(made > count / 4);
}
