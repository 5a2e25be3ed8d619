// Statistics against plain loops over the widened numbers.
#include "kvtape/stats.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "kernels/histogram.h"
#include "kvtape/error.h"
#include "random_tape.h"

namespace {

using namespace kvtape;
using namespace kvtape::tests;

TapeShape shape_of(DType dtype, const std::string& order = "bphd") {
  return {.batch = {2},
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
}

/// The live numbers of a tensor that `chosen` takes.
struct Place {
  std::int64_t row = 0;
  std::int64_t position = 0;
  std::int64_t head = 0;
  std::int64_t dim = 0;
};

template <typename Chosen>
std::vector<double> live_numbers(const Tensor& tensor, const TapeShape& shape,
                                 const Chosen& chosen) {
  const std::vector<double> all = doubles(tensor);
  const std::int64_t dims = extent(tensor, AxisKind::kDim);
  std::vector<double> result;
  std::size_t at = 0;
  for (std::int64_t row = 0; row < 2; ++row)
    for (std::int64_t slot = 0; slot < shape.extent; ++slot)
      for (std::int64_t head = 0; head < shape.key_heads; ++head)
        for (std::int64_t dim = 0; dim < dims; ++dim, ++at) {
          const auto r = static_cast<std::size_t>(row);
          if (slot >= shape.starts[r] && slot < shape.index[r] &&
              chosen(Place{row, slot, head, dim}))
            result.push_back(all[at]);
        }
  return result;
}

void check(const StatsRow& row, std::vector<double> numbers) {
  long double sum = 0;
  for (const double number : numbers) sum += number;
  const long double mean = sum / static_cast<long double>(numbers.size());
  long double squares = 0;
  for (const double number : numbers)
    squares += (number - mean) * (number - mean);
  REQUIRE(row.count == std::ssize(numbers));
  CHECK(row.mean == Approx(static_cast<double>(mean)).margin(1e-14));
  CHECK(row.std == Approx(static_cast<double>(std::sqrt(
                       squares / static_cast<long double>(numbers.size())))));
  CHECK(row.min == *std::min_element(numbers.begin(), numbers.end()));
  CHECK(row.max == *std::max_element(numbers.begin(), numbers.end()));
  CHECK(row.zeros == std::count(numbers.begin(), numbers.end(), 0.0));
  if (!row.quantiles) return;
  for (double& number : numbers) number = std::fabs(number);
  std::sort(numbers.begin(), numbers.end());
  const auto quantile = [&](double part) {
    const auto rank = static_cast<std::size_t>(
        std::ceil(part * static_cast<double>(numbers.size())));
    return numbers[std::max<std::size_t>(rank, 1) - 1];
  };
  for (const auto& [found, part] :
       {std::pair(row.quantiles->p50, 0.5), std::pair(row.quantiles->p90, 0.9),
        std::pair(row.quantiles->p99, 0.99),
        std::pair(row.quantiles->p999, 0.999)}) {
    if (row.quantiles->exact) {
      CHECK(found == quantile(part));
    } else {
      CHECK(found <= quantile(part));
      CHECK(found >= quantile(part) * (1 - 0x1p-7));
    }
  }
  std::int64_t in_parts = 0;
  for (const std::int64_t part : row.histogram) in_parts += part;
  CHECK(in_parts == row.finite());
}

const Tensor& tensor_of(const Tape& tape, const StatsRow& row) {
  const LayerCache& layer = tape.cache.layers.at(row.layer);
  return row.kind == TensorKind::kKey ? *layer.key : *layer.value;
}

bool same(const StatsRow& a, const StatsRow& b) {
  return a.count == b.count && a.mean == b.mean && a.std == b.std &&
         a.min == b.min && a.max == b.max && a.norms.sum == b.norms.sum &&
         a.histogram == b.histogram;
}

}  // namespace

TEST_CASE("rows are those of plain loops, by anything") {
  for (const DType dtype :
       {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (const std::string order : {"bphd", "bhpd", "bhdp"}) {
      INFO(name(dtype) << ' ' << order);
      const TapeShape shape = shape_of(dtype, order);
      const Tape tape = random_tape(shape);
      for (const StatsRow& row : stats(tape).rows) {
        CHECK(row.quantiles->exact ==
              (dtype == DType::kF16 || dtype == DType::kBF16));
        check(row, live_numbers(tensor_of(tape, row), shape,
                                [](const Place&) { return true; }));
      }
      for (const StatsRow& row : stats(tape, {.by = StatsBy::kHead}).rows)
        check(row,
              live_numbers(tensor_of(tape, row), shape, [&](const Place& at) {
                return at.head == *row.head;
              }));
      for (const StatsRow& row : stats(tape, {.by = StatsBy::kPosition}).rows)
        check(row,
              live_numbers(tensor_of(tape, row), shape, [&](const Place& at) {
                return at.position >= row.positions->first &&
                       at.position < row.positions->last;
              }));
      for (const StatsRow& row : stats(tape, {.by = StatsBy::kChannel}).rows)
        check(row,
              live_numbers(tensor_of(tape, row), shape, [&](const Place& at) {
                return at.head == *row.head && at.dim == *row.channel;
              }));
    }
}

TEST_CASE("lengths are those of the vectors of tokens") {
  const TapeShape shape = shape_of(DType::kF32);
  const Tape tape = random_tape(shape);
  const StatsRow row = stats(tape).rows.front();
  const auto numbers = live_numbers(*tape.cache.layers.at(0).key, shape,
                                    [](const Place&) { return true; });
  double sum = 0;
  double most = 0;
  for (std::size_t at = 0; at < numbers.size(); at += 12) {
    double squares = 0;
    for (std::size_t dim = 0; dim < 12; ++dim)
      squares += numbers[at + dim] * numbers[at + dim];
    sum += std::sqrt(squares);
    most = std::max(most, std::sqrt(squares));
  }
  CHECK(row.norms.count == std::ssize(numbers) / 12);
  CHECK(row.norms.sum == Approx(sum).epsilon(1e-13));
  CHECK(row.norms.max == Approx(most).epsilon(1e-15));
}

TEST_CASE("any number of threads gives the same statistics") {
  const Tape tape = random_tape(shape_of(DType::kF16));
  for (const StatsBy by : {StatsBy::kLayer, StatsBy::kHead, StatsBy::kPosition,
                           StatsBy::kChannel}) {
    const StatsReport one = stats(tape, {.by = by, .threads = 1});
    for (const int threads : {2, 7}) {
      const StatsReport more = stats(tape, {.by = by, .threads = threads});
      REQUIRE(more.rows.size() == one.rows.size());
      for (std::size_t i = 0; i < one.rows.size(); ++i)
        CHECK(same(one.rows[i], more.rows[i]));
    }
  }
}

TEST_CASE("what catches the eye is named") {
  const TapeShape shape = shape_of(DType::kF32);
  Tape tape = random_tape(shape);
  CHECK(stats(tape).findings.empty());
  auto& layer = tape.cache.layers.at(1);
  std::vector<double> key = doubles(*layer.key);
  for (std::size_t at = 0; at < key.size(); ++at) {
    const std::size_t head = at / 12 % 3;
    if (head == 1) key[at] = 0;                    // a dead head
    if (head == 2 && at % 12 == 5) key[at] *= 50;  // an outlier
  }
  layer.key = float_tensor(DType::kF32, layer.key->axes, key);
  layer.value = float_tensor(DType::kF32, layer.value->axes,
                             std::vector<double>(doubles(*layer.value).size()));
  auto& first = tape.cache.layers.at(0);
  std::vector<double> value = doubles(*first.value);
  value[static_cast<std::size_t>(20 * 3 * 20)] =
      std::numeric_limits<double>::quiet_NaN();
  value[static_cast<std::size_t>(21 * 3 * 20)] =
      std::numeric_limits<double>::infinity();
  first.value = float_tensor(DType::kF32, first.value->axes, value);
  const auto findings = stats(tape).findings;
  REQUIRE(findings.size() == 6);
  CHECK(findings[0] == StatsFinding{0, TensorKind::kValue, {}, "1 NaN"});
  CHECK(findings[1] == StatsFinding{0, TensorKind::kValue, {}, "1 Inf"});
  // 130 and 92 live tokens.
  CHECK(findings[2].text == "222 vectors of a token and head zero throughout");
  CHECK(findings[3].head == 1);
  CHECK(findings[3].text == "all zero or not finite");
  CHECK(findings[4].head == 2);
  CHECK(findings[4].text.starts_with("dim 5 is "));
  CHECK(findings[5] == StatsFinding{1, TensorKind::kValue, {}, "all zero"});
}

TEST_CASE("codes at the ends of their range are counted") {
  Tape tape = random_tape(shape_of(DType::kF32));
  auto& layer = tape.cache.layers.at(0);
  layer.key = quantized(*layer.key, Quantization::Scheme::kInt8, 0);
  const StatsReport report = stats(tape);
  REQUIRE(report.rows[0].saturated);
  // Each scale is made for the largest number of its slot and head.
  CHECK(*report.rows[0].saturated >= 2 * 150 * 3);
  CHECK(!report.rows[1].saturated);
}

TEST_CASE("parts are read where asked for, and what cannot be read is named") {
  const TapeShape shape = shape_of(DType::kF32);
  Tape tape = random_tape(shape);
  StatsOptions options{.by = StatsBy::kHead};
  options.selection = parse_selection("layer=1,row=1,head=2,position=5:9");
  const StatsReport part = stats(tape, options);
  REQUIRE(part.rows.size() == 2);
  CHECK(part.rows[0].count == 4 * 12);
  CHECK(part.rows[0].head == 2);
  options.selection = parse_selection("layer=7");
  CHECK_THROWS_AS(stats(tape, options), Error);
  CHECK(stats(tape, {.dead = true}).rows[0].count == 2 * 150 * 3 * 12);
  tape.cache.layers.at(0).key->axes[1].kind = AxisKind::kLayer;
  const StatsReport report = stats(tape);
  REQUIRE(report.not_read.size() >= 1);
}

TEST_CASE("bins count every pattern of 16 bits once") {
  std::vector<std::byte> all(2 * kernels::kBins);
  for (std::size_t bits = 0; bits < kernels::kBins; ++bits) {
    all[2 * bits] = static_cast<std::byte>(bits & 0xff);
    all[2 * bits + 1] = static_cast<std::byte>(bits >> 8);
  }
  for (const auto element : {kernels::Element::kF16, kernels::Element::kBF16}) {
    std::vector<std::uint32_t> counts(kernels::kBins);
    kernels::count_bits(all.data(), element, kernels::kBins, counts.data());
    CHECK(counts == std::vector<std::uint32_t>(kernels::kBins, 1));
  }
}
