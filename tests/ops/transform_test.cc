// Caches in another form against plain loops over all their numbers.
#include "kvtape/transform.h"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "hidden_source.h"
#include "kvtape/equal.h"
#include "kvtape/error.h"
#include "random_tape.h"

namespace kvtape::tests {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

template <typename T>
T one_of(std::vector<T> choices, Numbers& numbers) {
  return choices[static_cast<std::size_t>(numbers.below(std::ssize(choices)))];
}

TapeShape random_shape(std::uint64_t seed, Numbers& numbers) {
  TapeShape shape{.seed = seed};
  shape.batch =
      one_of<std::vector<std::int64_t>>({{1}, {3}, {2, 3}, {2, 1, 2}}, numbers);
  shape.layers = 1 + numbers.below(4);
  shape.extent = 1 + numbers.below(9);
  shape.key_heads = 1 + numbers.below(4);
  shape.query_heads = shape.key_heads * (1 + numbers.below(3));
  shape.key_dim = 2 * (1 + numbers.below(4));
  shape.value_dim = 2 * (1 + numbers.below(4));
  shape.dtype = one_of<DType>(
      {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}, numbers);
  shape.order =
      one_of<std::string>({"bphd", "bhpd", "bdhp", "pbhd", "hdbp"}, numbers);
  shape.stacked = numbers.below(3) == 0;
  shape.starts = {0, 0, 1};
  shape.index = {shape.extent, 1, 0};
  return shape;
}

// Some tensors can be addressed, others only read.
void hide_some(Tape& tape, Numbers& numbers) {
  for (auto& [number, layer] : tape.cache.layers)
    for (auto* tensor : {&layer.key, &layer.value})
      if (*tensor && numbers.below(2) == 0) *tensor = hidden(**tensor);
}

void quantize_some(Tape& tape, const TapeShape& shape, Numbers& numbers) {
  if (shape.batch.size() != 1 || shape.order != "bphd" || shape.stacked ||
      shape.dtype == DType::kF64)
    return;
  for (auto& [number, layer] : tape.cache.layers) {
    if (numbers.below(2) == 0)
      layer.key = quantized(*layer.key, Quantization::Scheme::kInt8, 0);
    if (numbers.below(2) == 0)
      layer.value = quantized(*layer.value, Quantization::Scheme::kNF4, 2);
  }
}

// ---- parts

struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
  IndexRange index() const { return {.first = first, .last = last}; }
};

Range random_range(std::int64_t count, Numbers& numbers) {
  const std::int64_t first = numbers.below(count);
  return {first, first + 1 + numbers.below(count - first)};
}

// One row, or whole runs of the innermost batch axes.
Range random_rows(const TapeShape& shape, Numbers& numbers) {
  const std::int64_t rows = rows_of(shape);
  if (numbers.below(2) == 0) {
    const std::int64_t row = numbers.below(rows);
    return {row, row + 1};
  }
  const std::int64_t inner = rows / shape.batch.front();
  const Range outer = random_range(shape.batch.front(), numbers);
  return {outer.first * inner, outer.last * inner};
}

// The numbers of a tensor of such sizes (row, slot, head, dim) in these ranges.
std::vector<double> part_of(const Tensor& tensor, Range rows, Range slots,
                            const std::vector<std::int64_t>& heads) {
  const std::vector<double> all = doubles(tensor);
  const std::int64_t dims = extent(tensor, AxisKind::kDim);
  const std::int64_t head_count = extent(tensor, AxisKind::kHead);
  const std::int64_t slot_count =
      extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
  std::vector<double> part;
  for (std::int64_t row = rows.first; row < rows.last; ++row)
    for (std::int64_t slot = slots.first; slot < slots.last; ++slot)
      for (const std::int64_t head : heads)
        for (std::int64_t dim = 0; dim < dims; ++dim)
          part.push_back(all[static_cast<std::size_t>(
              ((row * slot_count + slot) * head_count + head) * dims + dim)]);
  return part;
}

std::vector<std::int64_t> numbers_in(Range range) {
  std::vector<std::int64_t> result;
  for (std::int64_t i = range.first; i < range.last; ++i) result.push_back(i);
  return result;
}

// The query heads that share these key heads.
std::vector<std::int64_t> query_heads(const TapeShape& shape, Range heads,
                                      HeadMap map) {
  std::vector<std::int64_t> result;
  const std::int64_t group = shape.query_heads / shape.key_heads;
  for (std::int64_t head = 0; head < shape.query_heads; ++head) {
    const std::int64_t key_head =
        map == HeadMap::kRepeat ? head / group : head % shape.key_heads;
    if (key_head >= heads.first && key_head < heads.last)
      result.push_back(head);
  }
  return result;
}

TEST_CASE("a part of a cache holds the numbers of the whole") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    Numbers numbers(seed);
    const TapeShape shape = random_shape(seed, numbers);
    Tape tape = random_tape(shape);
    const HeadMap map =
        one_of<HeadMap>({HeadMap::kRepeat, HeadMap::kTile}, numbers);
    tape.cache.attention.head_map = map;
    quantize_some(tape, shape, numbers);
    hide_some(tape, numbers);
    const Range layers = random_range(shape.layers, numbers);
    const Range rows = random_rows(shape, numbers);
    const Range heads = random_range(shape.key_heads, numbers);
    const Range tokens = {0, tokens_of(shape)};
    const Tape part = select(tape, {.layer = layers.index(),
                                    .row = rows.index(),
                                    .head = heads.index()})
                          .tape;
    REQUIRE(std::ssize(part.cache.layers) == layers.last - layers.first);
    for (const auto& [number, layer] : part.cache.layers) {
      const LayerCache& whole = tape.cache.layers.at(number + layers.first);
      const Range slots = {0, shape.extent};
      CHECK(doubles(*layer.key) ==
            part_of(*whole.key, rows, slots, numbers_in(heads)));
      CHECK(doubles(*layer.value) ==
            part_of(*whole.value, rows, slots, numbers_in(heads)));
      const auto all = integers(*whole.index);
      CHECK(integers(*layer.index) ==
            std::vector<std::int64_t>(all.begin() + rows.first,
                                      all.begin() + rows.last));
      const LayerTrace& trace = part.trace->layers.at(number);
      const LayerTrace& from = tape.trace->layers.at(number + layers.first);
      CHECK(doubles(*trace.query) ==
            part_of(*from.query, rows, tokens, query_heads(shape, heads, map)));
      CHECK(doubles(*trace.key) ==
            part_of(*from.key, rows, tokens, numbers_in(heads)));
    }
    CHECK(part.cache.attention.query_heads ==
          std::ssize(query_heads(shape, heads, map)));
  }
}

TEST_CASE("positions are counted from the first that is kept") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    INFO("seed " << seed);
    Numbers numbers(seed);
    const TapeShape shape = random_shape(seed, numbers);
    Tape tape = random_tape(shape);
    quantize_some(tape, shape, numbers);
    hide_some(tape, numbers);
    const Range slots = random_range(shape.extent, numbers);
    const Tape part =
        select(without_trace(tape), {.position = slots.index()}).tape;
    for (const auto& [number, layer] : part.cache.layers) {
      const LayerCache& whole = tape.cache.layers.at(number);
      CHECK(doubles(*layer.value) == part_of(*whole.value, {0, rows_of(shape)},
                                             slots,
                                             numbers_in({0, shape.key_heads})));
      std::vector<std::int64_t> index = integers(*whole.index);
      for (std::int64_t& i : index)
        i = std::min(std::max(i, slots.first), slots.last) - slots.first;
      CHECK(integers(*layer.index) == index);
    }
  }
}

TEST_CASE("parts that would mean something else are refused") {
  TapeShape shape;
  Tape tape = random_tape(shape);
  CHECK_THROWS_WITH(select(tape, {.position = IndexRange{0, 2}}),
                    "/trace: position: expected 0:5 at least: the trace uses "
                    "them, found 0:2");
  tape.cache.layers.at(0).layout = Layout::kRing;
  CHECK_THROWS_AS(select(without_trace(tape), {.position = IndexRange{0, 2}}),
                  Error);
  shape.batch = {2, 3};
  CHECK_THROWS_AS(select(random_tape(shape), {.row = IndexRange{1, 5}}), Error);
  CHECK_THROWS_AS(select(random_tape(shape), {.row = IndexRange{6, 7}}), Error);
}

// ---- order of axes

TEST_CASE("axes in another order hold the same cache") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    INFO("seed " << seed);
    Numbers numbers(seed);
    const TapeShape shape = random_shape(seed, numbers);
    Tape tape = random_tape(shape);
    hide_some(tape, numbers);
    const auto order = one_of<std::string>(
        {"batch,head,position,dim", "dim,head,position,batch",
         "position,batch,dim,head", "head,layer,dim,batch,position"},
        numbers);
    const Tape turned = with_axes(tape, order);
    CHECK(first_difference(tape, turned) == std::nullopt);
    const Tape plain = unstacked(turned);
    CHECK(first_difference(tape, plain) == std::nullopt);
    const Tensor& key = *plain.cache.layers.at(0).key;
    CHECK(std::none_of(key.axes.begin(), key.axes.end(), [](const Axis& axis) {
      return axis.kind == AxisKind::kLayer;
    }));
    const std::string first = order.substr(0, order.find(','));
    const AxisKind kind = first == "batch"      ? AxisKind::kBatch
                          : first == "dim"      ? AxisKind::kDim
                          : first == "position" ? AxisKind::kPosition
                                                : AxisKind::kHead;
    CHECK(key.axes.front().kind == kind);
  }
}

TEST_CASE("orders that say something else are refused") {
  const Tape tape = random_tape({});
  for (const char* order :
       {"", "batch", "batch,position,head", "batch,head,position,dim,dim",
        "batch,position,head,dim,", "rows,position,head,dim",
        "batch,position,dim"})
    CHECK_THROWS_AS(with_axes(tape, order), Error);
  Tape codes = tape;
  codes.cache.layers.at(0).key =
      quantized(*codes.cache.layers.at(0).key, Quantization::Scheme::kInt8, 0);
  CHECK_THROWS_AS(with_axes(codes, "batch,head,position,dim"), Error);
  CHECK_NOTHROW(with_axes(dequantized(codes), "batch,head,position,dim"));
}

// ---- dtypes

struct Format {
  DType dtype = DType::kF16;
  int digits = 0;  // of the significand, the hidden one included
  int least = 0;   // exponent of the smallest normal number
  double most = 0;
};
const std::array<Format, 3> kFormats{
    {{DType::kF16, 11, -14, 65504},
     {DType::kBF16, 8, -126, std::ldexp(255, 120)},
     {DType::kF32, 24, -126, std::numeric_limits<float>::max()}}};

// To the nearest multiple of the last digit's worth, ties to even.
double rounded(double value, const Format& format) {
  if (!std::isfinite(value) || value == 0) return value;
  const int exponent = std::max(std::ilogb(value), format.least);
  const double unit = std::ldexp(1, exponent - format.digits + 1);
  const double result = std::nearbyint(value / unit) * unit;
  return std::abs(result) > format.most ? std::copysign(kInf, value) : result;
}

// Numbers of all sizes, halves between two of f16 and bf16, and the edges.
std::vector<double> hard_numbers(DType dtype, std::uint64_t seed,
                                 std::size_t count) {
  Numbers numbers(seed);
  std::vector<double> values{0.0,
                             -0.0,
                             kInf,
                             -kInf,
                             65504,
                             65519,
                             65520,
                             -1e6,
                             5.96e-8,
                             2.98e-8,
                             2.9802322387695312e-8,
                             1e-40,
                             3.4e38,
                             1 + 0x1p-11,
                             1 + 3 * 0x1p-11,
                             1 + 0x1p-8};
  while (values.size() < count)
    values.push_back(
        std::ldexp(numbers.next(), static_cast<int>(numbers.below(60)) - 40));
  if (dtype == DType::kF64) return values;
  for (double& value : values)
    value = rounded(value, *std::find_if(kFormats.begin(), kFormats.end(),
                                         [&](const Format& format) {
                                           return format.dtype == dtype;
                                         }));
  return values;
}

bool same(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

Tape tape_of(DType dtype, const std::vector<double>& values) {
  Tape tape;
  tape.cache.layers[3].key =
      float_tensor(dtype,
                   {{AxisKind::kBatch, "batch", 1},
                    {AxisKind::kPosition, "position", std::ssize(values) / 8},
                    {AxisKind::kHead, "head", 2},
                    {AxisKind::kDim, "dim", 4}},
                   values);
  return tape;
}

TEST_CASE("dtypes round once to the nearest, ties to even") {
  for (const DType from : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (const Format& to : kFormats) {
      INFO(name(from) << " to " << name(to.dtype));
      const auto values = hard_numbers(from, 1, 100'000);
      const Tape tape = tape_of(from, values);
      const Tape narrow = with_dtype(tape, to.dtype);
      const Tensor& key = *narrow.cache.layers.at(3).key;
      CHECK(key.dtype == to.dtype);
      const std::vector<double> actual = doubles(key);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        wrong += !same(actual[i], rounded(values[i], to));
      CHECK(wrong == 0);
    }
}

TEST_CASE("what rounding costs is what plain loops find") {
  for (const DType from : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (const Format& to : kFormats) {
      INFO(name(from) << " to " << name(to.dtype));
      const auto values = hard_numbers(from, 2, 40'000);
      const Tape tape = tape_of(from, values);
      std::int64_t changed = 0;
      std::int64_t infinite = 0;
      std::int64_t zero = 0;
      double largest = 0;
      std::int64_t at = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double result = rounded(values[i], to);
        changed += result != values[i];
        infinite += std::isinf(result) && !std::isinf(values[i]);
        zero += result == 0 && values[i] != 0;
        if (!std::isfinite(result)) continue;
        const double error = std::abs(result - values[i]);
        if (error > largest) at = static_cast<std::int64_t>(i);
        largest = std::max(largest, error);
      }
      const RoundingReport report = rounding(tape, to.dtype, {.threads = 1});
      CHECK(report.changed == changed);
      CHECK(report.infinite == infinite);
      CHECK(report.zero == zero);
      CHECK(report.largest == largest);
      CHECK(report.largest_at.has_value() == (largest > 0));
      if (largest > 0) {
        CHECK(report.largest_at->object == "/layers/3/key");
        CHECK(report.largest_at->index ==
              std::vector<std::int64_t>{0, at / 8, at / 4 % 2, at % 4});
        CHECK(report.largest_at->value == values[static_cast<std::size_t>(at)]);
      }
      const RoundingReport again = rounding(tape, to.dtype, {.threads = 3});
      CHECK(again.largest_at.has_value() == report.largest_at.has_value());
      CHECK(again.changed == changed);
    }
}

TEST_CASE("all 16-bit floats are exact in wider ones and come back") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes;
    for (int bits = 0; bits < 65536; ++bits) {
      bytes.push_back(static_cast<std::byte>(bits & 0xff));
      bytes.push_back(static_cast<std::byte>(bits >> 8));
    }
    Tape tape = tape_of(dtype, std::vector<double>(65536));
    Tensor& key = *tape.cache.layers.at(3).key;
    key = make_tensor(dtype, key.axes, bytes);
    const std::vector<double> values = doubles(key);
    for (const DType wide : {DType::kF32, DType::kF64}) {
      CHECK(rounding(tape, wide).changed == 0);
      const Tape back = with_dtype(with_dtype(tape, wide), dtype);
      const std::vector<double> again = doubles(*back.cache.layers.at(3).key);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        wrong += std::isnan(values[i])
                     ? !std::isnan(again[i]) ||
                           std::signbit(values[i]) != std::signbit(again[i])
                     : !same(values[i], again[i]);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("quantized tensors become what their codes stand for") {
  TapeShape shape;
  shape.value_dim = 6;
  Tape tape = random_tape(shape);
  LayerCache& layer = tape.cache.layers.at(0);
  layer.key = quantized(*layer.key, Quantization::Scheme::kInt8, 0);
  layer.value = quantized(*layer.value, Quantization::Scheme::kNF4, 6);
  const Tape plain = dequantized(tape);
  CHECK_FALSE(plain.cache.layers.at(0).key->quantized());
  CHECK(doubles(*plain.cache.layers.at(0).key) == doubles(*layer.key));
  CHECK(doubles(*plain.cache.layers.at(0).value) == doubles(*layer.value));
}

// ---- ranges

// Any range of a tensor is that range of all its bytes.
void check_ranges(const Tensor& tensor, Numbers& numbers) {
  std::vector<std::int64_t> sizes;
  for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
  const auto size = static_cast<std::size_t>(bytes_per_element(tensor.dtype));
  const auto read = [&](const Box& box) {
    std::size_t count = 1;
    for (const std::int64_t n : box.count) count *= static_cast<std::size_t>(n);
    std::vector<std::byte> bytes(count * size);
    tensor.source->read(box, bytes);
    return bytes;
  };
  const Box all{std::vector<std::int64_t>(sizes.size(), 0), sizes};
  const Tensor whole = make_tensor(tensor.dtype, tensor.axes, read(all));
  for (int i = 0; i < 8; ++i) {
    Box box;
    for (const std::int64_t n : sizes) {
      const Range range = random_range(n, numbers);
      box.first.push_back(range.first);
      box.count.push_back(range.last - range.first);
    }
    std::vector<std::byte> expected(read(box).size());
    whole.source->read(box, expected);
    CHECK(read(box) == expected);
  }
}

TEST_CASE("every range of a converted tensor is that range of the whole") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    INFO("seed " << seed);
    Numbers numbers(seed);
    const TapeShape shape = random_shape(seed, numbers);
    Tape tape = without_trace(random_tape(shape));
    quantize_some(tape, shape, numbers);
    hide_some(tape, numbers);
    tape = unstacked(dequantized(tape));
    if (numbers.below(2) == 0)
      tape = select(tape,
                    {.row = random_rows(shape, numbers).index(),
                     .head = random_range(shape.key_heads, numbers).index(),
                     .position = random_range(shape.extent, numbers).index()})
                 .tape;
    if (numbers.below(2) == 0) tape = with_dtype(tape, DType::kBF16);
    if (numbers.below(2) == 0)
      tape = with_axes(tape, "dim,batch,head,position");
    for (const auto& [number, layer] : tape.cache.layers) {
      check_ranges(*layer.key, numbers);
      check_ranges(*layer.value, numbers);
    }
  }
}

}  // namespace
}  // namespace kvtape::tests
