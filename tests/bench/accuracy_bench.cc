// How far f32 attention over a long f16 cache is from float64, where every
// slot counts about as much (numerics.md's three kinds of values).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "accuracy: largest error, f16 cache";

std::vector<float> widened(const std::vector<std::byte>& data) {
  std::vector<float> out(data.size() / 2);
  kernels::active().widen(data.data(), kernels::Element::kF16, 1,
                          std::ssize(out), out.data());
  return out;
}

// One head in float64, two passes and no trick.
std::vector<double> reference(const Shape& shape,
                              const std::vector<float>& query,
                              const std::vector<float>& key,
                              const std::vector<float>& value) {
  const auto dim = static_cast<std::size_t>(shape.dim);
  const auto slots = static_cast<std::size_t>(shape.slots);
  std::vector<double> weights(slots);
  const double scale = 1 / std::sqrt(static_cast<double>(shape.dim));
  for (std::size_t slot = 0; slot < slots; ++slot) {
    for (std::size_t d = 0; d < dim; ++d)
      weights[slot] += double{query[d]} * double{key[slot * dim + d]};
    weights[slot] *= scale;
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  std::vector<double> output(dim);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const double weight = std::exp(weights[slot] - max);
    sum += weight;
    for (std::size_t d = 0; d < dim; ++d)
      output[d] += weight * double{value[slot * dim + d]};
  }
  for (double& x : output) x /= sum;
  return output;
}

double largest_error(const Shape& shape, const std::vector<float>& values) {
  const auto query = numbers(shape.dim, 1);
  DecodeCache cache{.shape = shape, .dtype = DType::kF16};
  cache.key = stored(numbers(shape.elements(), 2), DType::kF16);
  cache.value = stored(values, DType::kF16);
  Decode decode(cache, Order::kHeadFirst, query);
  ThreadPool pool(1);
  decode.run(kernels::active(), pool);
  const auto expected =
      reference(shape, query, widened(cache.key), widened(cache.value));
  double worst = 0;
  for (std::size_t d = 0; d < expected.size(); ++d)
    worst =
        std::max(worst, std::fabs(expected[d] - double{decode.output()[d]}));
  return worst;
}

// Values of mean 0, of mean 1, and the same 512 rows over and over.
struct Kind {
  const char* name;
  std::function<void(std::vector<float>&)> change;
};

std::vector<Kind> kinds(std::int64_t dim) {
  return {{"mean 0", [](auto&) {}},
          {"mean 1",
           [](auto& values) {
             for (float& x : values) x += 1;
           }},
          {"repeated", [dim](auto& values) {
             const auto period = static_cast<std::size_t>(512 * dim);
             for (std::size_t i = period; i < values.size(); ++i)
               values[i] = values[i - period];
           }}};
}

}  // namespace

void bench_accuracy(const Settings&, Results& results) {
  for (std::int64_t slots = 1024; slots <= 131072; slots *= 2) {
    const Shape shape{.slots = slots, .query_heads = 1, .heads = 1, .dim = 64};
    for (const Kind& kind : kinds(shape.dim)) {
      std::vector<float> values = numbers(shape.elements(), 3);
      kind.change(values);
      Result result{kSection,
                    fmt::format("{} slots, values {}", slots, kind.name),
                    "absolute", largest_error(shape, values)};
      if (slots == 8192) result.target = 5e-7;
      if (slots == 131072) result.target = 1e-6;
      result.at_most = true;
      results.add(result);
    }
  }
}

}  // namespace kvtape::bench
