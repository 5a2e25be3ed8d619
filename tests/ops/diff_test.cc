// Diffs against a plain reference over the widened numbers, and what the
// report says of everything that is no number.
#include "kvtape/diff.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "kvtape/error.h"
#include "kvtape/transform.h"
#include "ops/diff_align.h"
#include "random_tape.h"

namespace {

using namespace kvtape;
using namespace kvtape::tests;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A tensor with some numbers changed a little, in its own dtype and order.
Tensor disturbed(const Tensor& tensor, std::uint64_t seed, double chance) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform;
  std::vector<double> numbers;
  const std::vector<std::byte> bytes(tensor.source->bytes().begin(),
                                     tensor.source->bytes().end());
  // doubles() is in the usual order; any order will do to disturb.
  Tensor flat = make_tensor(
      tensor.dtype, {{AxisKind::kPosition, "position", element_count(tensor)}},
      bytes);
  numbers = doubles(flat);
  for (double& number : numbers)
    if (uniform(random) < chance) number *= 1 + (uniform(random) - 0.5) * 0.1;
  return float_tensor(tensor.dtype, tensor.axes, numbers);
}

Tape disturbed(const Tape& tape, std::uint64_t seed, double chance) {
  Tape result = tape;
  for (auto& [number, layer] : result.cache.layers) {
    layer.key = disturbed(*layer.key, seed + 1, chance);
    layer.value = disturbed(*layer.value, seed + 2, chance);
  }
  return result;
}

TapeShape shape_of(const std::string& order, DType dtype) {
  TapeShape shape{.batch = {2},
                  .layers = 2,
                  .extent = 150,
                  .key_heads = 3,
                  .query_heads = 3,
                  .key_dim = 12,
                  .value_dim = 20,
                  .index = {130, 97},
                  .starts = {0, 5},
                  .dtype = dtype,
                  .order = order};
  if (order.find('h') == std::string::npos) {
    shape.key_heads = 1;
    shape.query_heads = 1;
  }
  return shape;
}

struct Reference {
  std::int64_t compared = 0;
  std::int64_t mismatched = 0;
  std::int64_t differing = 0;
  long double max_abs = 0;
  long double squared_error = 0;
  long double squared_expected = 0;
  long double cosine = 1;
  std::int64_t first_bad = -1;
};

// Of one head of [batch, position, head, dim] with these live slots.
Reference reference(const Tensor& e, const Tensor& a, const TapeShape& shape,
                    std::int64_t head, const Tolerance& tolerance) {
  const std::vector<double> x = doubles(e);
  const std::vector<double> y = doubles(a);
  const std::int64_t heads = extent(e, AxisKind::kHead);
  const std::int64_t dims = extent(e, AxisKind::kDim);
  Reference result;
  for (std::size_t row = 0; row < 2; ++row)
    for (std::int64_t slot = shape.starts[row]; slot < shape.index[row];
         ++slot) {
      long double product = 0;
      long double xx = 0;
      long double yy = 0;
      for (std::int64_t dim = 0; dim < dims; ++dim) {
        const auto at = static_cast<std::size_t>(
            ((static_cast<std::int64_t>(row) * shape.extent + slot) * heads +
             head) *
                dims +
            dim);
        const double error = std::fabs(y[at] - x[at]);
        ++result.compared;
        result.differing += x[at] != y[at];
        if (error > tolerance.atol + tolerance.rtol * std::fabs(x[at])) {
          ++result.mismatched;
          if (result.first_bad < 0 || slot < result.first_bad)
            result.first_bad = slot;
        }
        result.max_abs =
            std::max(result.max_abs, static_cast<long double>(error));
        result.squared_error += static_cast<long double>(error) * error;
        product += static_cast<long double>(x[at]) * y[at];
        xx += static_cast<long double>(x[at]) * x[at];
        yy += static_cast<long double>(y[at]) * y[at];
      }
      result.squared_expected += xx;
      result.cosine = std::min(result.cosine, product / std::sqrt(xx * yy));
    }
  return result;
}

void check(const DiffCell& cell, const Reference& expected) {
  CHECK(cell.stats.compared == expected.compared);
  CHECK(cell.stats.mismatched == expected.mismatched);
  CHECK(cell.stats.differing == expected.differing);
  CHECK(cell.stats.max_abs == static_cast<double>(expected.max_abs));
  CHECK(cell.stats.squared_error ==
        Approx(static_cast<double>(expected.squared_error)).epsilon(1e-12));
  CHECK(cell.stats.squared_expected ==
        Approx(static_cast<double>(expected.squared_expected)).epsilon(1e-12));
  CHECK(cell.stats.cosine ==
        Approx(static_cast<double>(expected.cosine)).epsilon(1e-12));
  CHECK(cell.first_bad.value_or(-1) == expected.first_bad);
}

bool same(const DiffStats& a, const DiffStats& b) {
  return a.compared == b.compared && a.mismatched == b.mismatched &&
         a.differing == b.differing && a.max_abs == b.max_abs &&
         a.max_rel == b.max_rel && a.max_ulps == b.max_ulps &&
         a.sum_ulps == b.sum_ulps && a.squared_error == b.squared_error &&
         a.squared_expected == b.squared_expected && a.cosine == b.cosine &&
         a.token_error == b.token_error;
}

Tape linear_tape(std::vector<std::int64_t> index = {12},
                 std::vector<std::int64_t> starts = {0}) {
  return random_tape(
      {.batch = {1}, .index = std::move(index), .starts = std::move(starts)});
}

bool has_gap(const DiffReport& report, const std::string& object,
             const std::string& words) {
  for (const DiffGap& gap : report.not_compared)
    if (gap.object == object && gap.reason.find(words) != std::string::npos)
      return true;
  return false;
}

const DiffField* field_of(const DiffReport& report, const std::string& name) {
  for (const DiffField& field : report.fields)
    if (field.field == name) return &field;
  return nullptr;
}

}  // namespace

TEST_CASE("cells are those of a plain reference, in any order and dtype") {
  for (const std::string order : {"bphd", "bhpd", "bhdp", "pbhd", "bpd"})
    for (const DType dtype :
         {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
      INFO(order << ' ' << name(dtype));
      const TapeShape shape = shape_of(order, dtype);
      const Tape expected = random_tape(shape);
      const Tape actual = disturbed(expected, 5, 0.3);
      const DiffReport report = diff(expected, actual, {.threads = 2});
      CHECK(report.verdict != Verdict::kIdentical);
      REQUIRE(std::ssize(report.cells) == 2 * 2 * shape.key_heads);
      for (const DiffCell& cell : report.cells) {
        const auto& e = expected.cache.layers.at(cell.layer);
        const auto& a = actual.cache.layers.at(cell.layer);
        const bool key = cell.kind == TensorKind::kKey;
        check(cell, reference(key ? *e.key : *e.value, key ? *a.key : *a.value,
                              shape, cell.head, report.tolerance));
      }
    }
}

TEST_CASE("the order of axes, the dtype and quantization change no number") {
  const Tape expected = random_tape(shape_of("bphd", DType::kF32));
  const Tape actual = disturbed(expected, 3, 0.1);
  const DiffReport report = diff(expected, actual);
  for (const char* order :
       {"head,batch,position,dim", "batch,head,dim,position"}) {
    const DiffReport other = diff(expected, with_axes(actual, order));
    REQUIRE(other.cells.size() == report.cells.size());
    for (std::size_t i = 0; i < report.cells.size(); ++i)
      CHECK(same(report.cells[i].stats, other.cells[i].stats));
    CHECK(field_of(other, "axes") != nullptr);
    CHECK(!field_of(other, "axes")->counts);
  }
  const DiffReport rounded = diff(expected, with_dtype(expected, DType::kBF16));
  CHECK(rounded.success());
  CHECK(rounded.verdict == Verdict::kRounding);
  CHECK(rounded.dtype == DType::kBF16);
  CHECK(rounded.total.max_ulps <= 0.5);
  CHECK(diff(expected, with_dtype(expected, DType::kF64), {.exact = true})
            .verdict == Verdict::kIdentical);
  Tape codes = expected;
  for (auto& [number, layer] : codes.cache.layers)
    for (auto* tensor : {&layer.key, &layer.value})
      *tensor = quantized(**tensor, Quantization::Scheme::kInt8, 0);
  const DiffReport coded = diff(expected, codes);
  CHECK(coded.verdict == Verdict::kRounding);
  CHECK(field_of(coded, "quantization") != nullptr);
  CHECK(diff(codes, dequantized(codes)).verdict == Verdict::kIdentical);
}

TEST_CASE("any number of threads gives the same report") {
  const Tape expected = random_tape(shape_of("bhpd", DType::kF16));
  const Tape actual = disturbed(expected, 9, 0.5);
  const DiffReport one = diff(expected, actual, {.threads = 1});
  for (const int threads : {2, 3, 8}) {
    const DiffReport more = diff(expected, actual, {.threads = threads});
    CHECK(same(one.total, more.total));
    for (std::size_t i = 0; i < one.bands.size(); ++i)
      CHECK(same(one.bands[i].stats, more.bands[i].stats));
    CHECK(one.first->position == more.first->position);
    CHECK(one.worst->dim == more.worst->dim);
  }
}

TEST_CASE("a cache is identical to itself, NaN and all") {
  for (const std::string order : {"bphd", "bhpd", "bhdp"}) {
    Tape tape = random_tape(shape_of(order, DType::kF32));
    Tensor& key = *tape.cache.layers.at(0).key;
    std::vector<double> numbers(static_cast<std::size_t>(element_count(key)),
                                1.0);
    numbers[7] = kNaN;
    numbers[9] = -std::numeric_limits<double>::infinity();
    key = float_tensor(DType::kF32, key.axes, numbers);
    const DiffReport report = diff(tape, tape, {.exact = true});
    CHECK(report.success());
    CHECK(report.verdict == Verdict::kIdentical);
    CHECK(report.total.nan_expected == 1);
    CHECK(report.total.inf_actual == 1);
    CHECK(!diff(tape, tape, {.nan_differs = true}).success());
  }
}

TEST_CASE("bands add up to the cells") {
  const Tape expected = random_tape(shape_of("bphd", DType::kF32));
  const DiffReport report = diff(expected, disturbed(expected, 1, 0.2));
  std::int64_t compared = 0;
  std::int64_t mismatched = 0;
  for (const DiffBand& band : report.bands) {
    CHECK(band.last == band.first + 1);
    compared += band.stats.compared;
    mismatched += band.stats.mismatched;
  }
  CHECK(compared == report.total.compared);
  CHECK(mismatched == report.total.mismatched);
}

TEST_CASE("first is where a decode meets it, worst is the largest") {
  Tape expected = linear_tape();
  Tape actual = expected;
  LayerCache& layer = actual.cache.layers.at(0);
  std::vector<double> numbers = doubles(*layer.value);  // [1, 12, 2, 5]
  numbers[static_cast<std::size_t>((3 * 2 + 1) * 5 + 4)] += 0.5;
  numbers[static_cast<std::size_t>((8 * 2 + 0) * 5 + 2)] += 2;
  layer.value = float_tensor(DType::kF32, layer.value->axes, numbers);
  const DiffReport report = diff(expected, actual);
  REQUIRE(report.first);
  CHECK(report.first->position == 3);
  CHECK(report.first->head == 1);
  CHECK(report.first->dim == 4);
  CHECK(report.worst->position == 8);
  CHECK(report.worst->dim == 2);
  CHECK(report.total.mismatched == 2);
  CHECK(report.verdict == Verdict::kStructural);
  CHECK(!report.success());
}

TEST_CASE("dead slots count only where asked for") {
  const Tape expected = linear_tape({8}, {2});
  Tape actual = expected;
  LayerCache& layer = actual.cache.layers.at(0);
  std::vector<double> numbers = doubles(*layer.key);  // [1, 12, 2, 6]
  numbers[0] += 1;
  numbers[static_cast<std::size_t>(9 * 12)] += 1;
  layer.key = float_tensor(DType::kF32, layer.key->axes, numbers);
  const DiffReport live = diff(expected, actual);
  CHECK(live.success());
  CHECK(live.total.compared == 6 * 2 * (6 + 5));
  const DiffReport all = diff(expected, actual, {.dead = true});
  CHECK(all.total.mismatched == 2);
  CHECK(all.total.compared == 12 * 2 * (6 + 5));
}

TEST_CASE("another length is compared as far as both go, and is no success") {
  const Tape expected = linear_tape({9});
  const Tape actual = linear_tape({7});
  const DiffReport report = diff(expected, actual);
  CHECK(report.verdict == Verdict::kIdentical);
  CHECK(report.total.compared == 7 * 2 * (6 + 5));
  CHECK(has_gap(report, "/layers/0",
                "2 live slots only in the expected cache, first row 0 "
                "position 7"));
  REQUIRE(field_of(report, "index") != nullptr);
  CHECK(field_of(report, "index")->expected == "[9]");
  CHECK(!report.success());
}

TEST_CASE("missing layers, tensors and other shapes are named") {
  const Tape whole = random_tape({.layers = 3, .index = {5}});
  Tape part = whole;
  part.cache.layers.erase(1);
  part.cache.layers.at(2).value.reset();
  DiffReport report = diff(whole, part);
  CHECK(has_gap(report, "/layers/1", "only in the expected cache"));
  CHECK(has_gap(report, "/layers/2/value", "only in the expected cache"));
  CHECK(report.total.mismatched == 0);
  CHECK(!report.success());
  CHECK(has_gap(diff(part, whole), "/layers/1", "only in the actual cache"));
  const Tape wide = random_tape({.layers = 3, .key_dim = 8, .index = {5}});
  report = diff(whole, wide);
  CHECK(has_gap(report, "/layers/0/key",
                "shape: expected [2, 12, 2, 6], found [2, 12, 2, 8]"));
  CHECK(report.total.compared > 0);  // the values
}

TEST_CASE("fields are compared by what they say") {
  Tape expected = linear_tape();
  expected.cache.metadata.batch_size = 1;
  Tape actual = expected;
  actual.cache.metadata.batch_size = 2;
  actual.cache.metadata.pad_token_id = 3;
  actual.cache.layers.at(0).window = 4;
  actual.source = "somebody";
  const DiffReport report = diff(expected, actual);
  CHECK(field_of(report, "batch_size")->counts);
  CHECK(field_of(report, "batch_size")->actual == "2");
  CHECK(!field_of(report, "window")->counts);  // only one says something
  CHECK(field_of(report, "window")->expected == "-");
  CHECK(!field_of(report, "source")->counts);
  CHECK(!report.success());
  expected.cache.layers.at(0).window = 5;
  CHECK(field_of(diff(expected, actual), "window")->counts);
}

TEST_CASE("slots meet by position, from the start, the end, or by tokens") {
  using Slots = std::vector<FilledSlot>;
  const Slots left{{2, 2, 7}, {3, 3, 8}, {4, 4, 9}};
  const Slots right{{0, 0, 7}, {1, 1, 8}, {2, 2, 9}, {3, 3, 5}};
  const auto runs = [](const Alignment& alignment) {
    std::vector<std::array<std::int64_t, 3>> result;
    for (const SlotRun& run : alignment.runs)
      result.push_back({run.expected, run.actual, run.count});
    return result;
  };
  using Found = std::vector<std::array<std::int64_t, 3>>;
  CHECK(runs(align(left, right, DiffAlign::kPosition)) == Found{{2, 2, 2}});
  CHECK(runs(align(left, right, DiffAlign::kStart)) == Found{{2, 0, 3}});
  CHECK(runs(align(left, right, DiffAlign::kEnd)) == Found{{2, 1, 3}});
  CHECK(runs(align(left, right, DiffAlign::kTokens)) == Found{{2, 0, 3}});
  CHECK(align(left, right, DiffAlign::kEnd).actual_only.size() == 1);
  CHECK(align({}, right, DiffAlign::kStart).actual_only.size() == 4);
}

TEST_CASE("tokens meet where their longest common run is") {
  // Against a search of all runs.
  std::mt19937_64 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<FilledSlot> a(random() % 12);
    std::vector<FilledSlot> b(random() % 12);
    for (auto* slots : {&a, &b})
      for (std::size_t i = 0; i < slots->size(); ++i)
        (*slots)[i] = {static_cast<std::int64_t>(i),
                       static_cast<std::int64_t>(i),
                       static_cast<std::int64_t>(random() % 3)};
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < b.size(); ++j) {
        std::size_t k = 0;
        while (i + k < a.size() && j + k < b.size() &&
               a[i + k].token == b[j + k].token)
          ++k;
        longest = std::max(longest, static_cast<std::int64_t>(k));
      }
    std::int64_t found = 0;
    for (const SlotRun& run : align(a, b, DiffAlign::kTokens).runs) {
      for (std::int64_t i = 0; i < run.count; ++i)
        CHECK(a[static_cast<std::size_t>(run.expected + i)].token ==
              b[static_cast<std::size_t>(run.actual + i)].token);
      found = std::max(found, run.count);
    }
    CHECK(found == longest);
  }
}

TEST_CASE("a ring is compared by positions") {
  TapeShape shape{.batch = {1}, .extent = 8, .index = {11}};
  shape.layout = Layout::kRing;
  const Tape ring = random_tape(shape);
  const DiffReport report = diff(ring, ring);
  CHECK(report.success());
  // Positions 3 to 10 are there; slot 0 holds position 8.
  CHECK(report.bands[2].stats.compared == 0);
  CHECK(report.bands[3].stats.compared > 0);
  CHECK(report.bands.back().last == 11);
}

TEST_CASE("a part is compared where asked for") {
  const Tape expected = random_tape(shape_of("bphd", DType::kF32));
  const Tape actual = disturbed(expected, 4, 0.5);
  DiffOptions options;
  options.selection =
      parse_selection("layer=1,row=0,head=2,position=10:20,kind=key");
  const DiffReport report = diff(expected, actual, options);
  REQUIRE(report.cells.size() == 1);
  CHECK(report.cells[0].head == 2);
  CHECK(report.total.compared == 10 * 12);
  CHECK(report.first->position >= 10);
  options.selection = parse_selection("layer=5");
  CHECK_THROWS_AS(diff(expected, actual, options), Error);
}

TEST_CASE("a diff is the same either way round") {
  for (int round = 0; round < 40; ++round) {
    const auto seed = static_cast<std::uint64_t>(round);
    const Tape a = random_tape({.layers = 2, .index = {9}, .seed = seed});
    const Tape b = disturbed(a, seed, 0.05 * round);
    for (const bool exact : {true, false}) {
      DiffOptions options{.exact = exact};
      if (!exact) options.rtol = 0;
      const DiffReport there = diff(a, b, options);
      const DiffReport back = diff(b, a, options);
      CHECK(there.total.mismatched == back.total.mismatched);
      CHECK(there.total.max_abs == back.total.max_abs);
      CHECK(there.success() == back.success());
      CHECK(there.success() == (there.total.mismatched == 0));
    }
  }
}

TEST_CASE("units in the last place rule where asked for") {
  const Tape expected = random_tape(shape_of("bphd", DType::kF32));
  const Tape actual = with_dtype(expected, DType::kF16);
  CHECK(diff(expected, actual, {.ulp = 0.5}).success());
  CHECK(!diff(expected, actual, {.ulp = 0.4}).success());
}

TEST_CASE("attention over both caches is compared for the queries at hand") {
  const Tape expected = random_tape({.batch = {1}, .layers = 2});
  Tape actual = disturbed(expected, 2, 1);
  const DiffReport none = diff(expected, expected);
  CHECK(none.outputs.empty());  // nothing differs
  // The trace writes to both; disturb what it reads before.
  Tape filled = random_tape({.batch = {1}, .layers = 2, .index = {4}});
  Tape changed = disturbed(filled, 2, 1);
  const DiffReport report = diff(filled, changed);
  REQUIRE(std::ssize(report.outputs) == 2 * 4);
  double most = 0;
  for (const DiffCell& cell : report.outputs)
    most = std::max(most, cell.stats.max_abs);
  CHECK(most > 0);
  changed.trace.reset();
  CHECK(diff(filled, changed).outputs.size() == 8);
  filled.trace.reset();
  CHECK(diff(filled, changed).outputs.empty());
  const DiffReport asked = diff(filled, changed, {.queries = &expected});
  CHECK(asked.outputs.size() == 8);
}

TEST_CASE("the traces and the states after them are compared too") {
  const Tape expected = random_tape({.batch = {1}, .layers = 2});
  Tape actual = expected;
  actual.trace->layers.at(1).query =
      disturbed(*expected.trace->layers.at(1).query, 3, 1);
  DiffReport report = diff(expected, actual);
  CHECK(report.verdict == Verdict::kIdentical);
  CHECK(!report.success());
  REQUIRE(report.others.size() == 6);
  CHECK(report.others[3].object == "/trace/layers/1/query");
  CHECK(report.others[3].stats.mismatched > 0);
  CHECK(report.others[3].first);
  CHECK(report.others[0].stats.mismatched == 0);
  actual = expected;
  Tape before = expected;
  before.final_state = FinalState{.layers = expected.cache.layers};
  actual.final_state = FinalState{.layers = expected.cache.layers};
  auto& after = actual.final_state->layers.at(0);
  after.index = int_tensor({{AxisKind::kBatch, "batch", 1}}, {5});
  before.final_state->layers.at(0).index = after.index;
  after.key = disturbed(*after.key, 1, 1);
  report = diff(before, actual);
  CHECK(!report.success());
  REQUIRE(report.others.size() == 10);
  CHECK(report.others[6].object == "/final/layers/0/key");
  CHECK(report.others[6].stats.mismatched > 0);
  CHECK(report.others[7].stats.mismatched == 0);
}
