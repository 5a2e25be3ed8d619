// One decode step over a long cache, against OpenBLAS on the same f32 data:
// paired runs, medians, ratio. Prints a table and gates nothing.
#include <cblas.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "ops/attend.h"

namespace kvtape {
namespace {

using Clock = std::chrono::steady_clock;

// slots, heads and dim of a decode step
struct Shape {
  std::int64_t slots = 32768;
  std::int64_t query_heads = 32;
  std::int64_t heads = 8;
  std::int64_t dim = 128;

  std::int64_t elements() const { return slots * heads * dim; }
  std::int64_t group() const { return query_heads / heads; }
};

// [head, slot, dim] (as OpenBLAS likes it best) or [slot, head, dim]
enum class Order : std::uint8_t { kHeadFirst, kSlotFirst };

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

// Cheap numbers that look random: mean 0, |x| < 1.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> data(size(count));
  for (float& x : data) {
    seed = seed * 1664525U + 1013904223U;
    x = static_cast<float>(seed >> 8) * 0x1p-23F - 1.0F;
  }
  return data;
}

// The same numbers as `dtype`.
std::vector<std::byte> as_bytes(const std::vector<float>& data,
                                kernels::Element element, int bytes) {
  std::vector<std::byte> out(data.size() * size(bytes));
  kernels::active().narrow_f32(data.data(), std::ssize(data), element,
                               out.data());
  return out;
}

struct Cache {
  Shape shape;
  Order order = Order::kHeadFirst;
  DType dtype = DType::kF32;
  std::vector<std::byte> key;
  std::vector<std::byte> value;

  SlabView slab(const std::vector<std::byte>& data, std::int64_t first) const {
    const std::int64_t slot =
        order == Order::kHeadFirst ? shape.dim : shape.heads * shape.dim;
    const std::int64_t head =
        order == Order::kHeadFirst ? shape.slots * shape.dim : shape.dim;
    const std::int64_t count = std::min(kernels::kSpan, shape.slots - first);
    return {.data = data.data() + first * slot * bytes_per_element(dtype),
            .dtype = dtype,
            .shape = {count, shape.heads, shape.dim},
            .strides = {slot, head, 1}};
  }
};

// Our decode step, ready to run.
class Step {
 public:
  Step(const Cache& cache, const std::vector<float>& query)
      : output_(query.size()) {
    const Shape& shape = cache.shape;
    for (std::int64_t at = 0; at < shape.slots; at += kernels::kSpan)
      pages_.push_back({.key = cache.slab(cache.key, at),
                        .value = cache.slab(cache.value, at)});
    tokens_ = {{.first = 0, .last = shape.slots}};
    problem_ = {
        .pages = pages_,
        .slots = shape.slots,
        .attention = {.query_heads = shape.query_heads,
                      .softmax_scale =
                          1 / std::sqrt(static_cast<double>(shape.dim))},
        .key_heads = shape.heads,
        .value_heads = shape.heads,
        .key_dim = shape.dim,
        .value_dim = shape.dim,
        .query = query.data(),
        .tokens = tokens_,
        .output = output_.data()};
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  void run(ThreadPool& pool) { attend(problem_, kernels::active(), pool); }
  const std::vector<float>& output() const { return output_; }

 private:
  std::vector<Page> pages_;
  std::vector<VisibleSlots> tokens_;
  std::vector<float> output_;
  AttendProblem problem_;
};

void softmax(float* scores, std::int64_t count) {
  const float max = *std::max_element(scores, scores + count);
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i)
    sum += scores[i] = std::exp(scores[i] - max);
  for (std::int64_t i = 0; i < count; ++i) scores[i] /= sum;
}

// Attention as two products of matrices (or of a matrix and a vector) per key
// head, on [head, slot, dim] floats.
struct Blas {
  Shape shape;
  const float* key = nullptr;
  const float* value = nullptr;
  const float* query = nullptr;
  std::vector<float> scores;  // [query of the group, slot]
  std::vector<float> output;  // [query_head, dim]

  void gemm(std::int64_t head);
  void gemv(std::int64_t head);
};

int blas_int(std::int64_t x) { return static_cast<int>(x); }

void Blas::gemm(std::int64_t head) {
  const int group = blas_int(shape.group());
  const int slots = blas_int(shape.slots);
  const int dim = blas_int(shape.dim);
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  const std::int64_t at = head * shape.slots * shape.dim;
  const std::int64_t row = head * group * shape.dim;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, group, slots, dim, scale,
              query + row, dim, key + at, dim, 0, scores.data(), slots);
  for (int i = 0; i < group; ++i)
    softmax(scores.data() + i * shape.slots, slots);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, group, dim, slots, 1,
              scores.data(), slots, value + at, dim, 0, output.data() + row,
              dim);
}

void Blas::gemv(std::int64_t head) {
  const int slots = blas_int(shape.slots);
  const int dim = blas_int(shape.dim);
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  const std::int64_t at = head * shape.slots * shape.dim;
  for (std::int64_t i = 0; i < shape.group(); ++i) {
    const std::int64_t row = (head * shape.group() + i) * shape.dim;
    cblas_sgemv(CblasRowMajor, CblasNoTrans, slots, dim, scale, key + at, dim,
                query + row, 1, 0, scores.data(), 1);
    softmax(scores.data(), slots);
    cblas_sgemv(CblasRowMajor, CblasTrans, slots, dim, 1, value + at, dim,
                scores.data(), 1, 0, output.data() + row, 1);
  }
}

struct Timed {
  std::string name;
  std::int64_t bytes = 0;
  std::function<void()> run;
  std::vector<double> ms;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Every candidate once per round, so that a slow moment hits them all.
void measure(std::vector<Timed>& candidates, int rounds) {
  for (int round = -1; round < rounds; ++round)
    for (Timed& candidate : candidates) {
      const auto start = Clock::now();
      candidate.run();
      const std::chrono::duration<double, std::milli> ms = Clock::now() - start;
      if (round >= 0) candidate.ms.push_back(ms.count());
    }
}

// Median of the rounds' ratios of the faster OpenBLAS to the candidate.
double ratio(const Timed& blas_a, const Timed& blas_b, const Timed& candidate) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < candidate.ms.size(); ++round)
    ratios.push_back(std::min(blas_a.ms[round], blas_b.ms[round]) /
                     candidate.ms[round]);
  return median(ratios);
}

double largest_difference(const std::vector<float>& a,
                          const std::vector<float>& b) {
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::fabs(a[i] - b[i]));
  return static_cast<double>(worst);
}

void bench(const Shape& shape, int threads, int rounds) {
  openblas_set_num_threads(threads);
  ThreadPool pool(threads);
  const auto query = numbers(shape.query_heads * shape.dim, 1);
  const auto key = numbers(shape.elements(), 2);
  const auto value = numbers(shape.elements(), 3);
  Blas blas{.shape = shape,
            .key = key.data(),
            .value = value.data(),
            .query = query.data(),
            .scores = std::vector<float>(size(shape.group() * shape.slots)),
            .output = std::vector<float>(query.size())};
  const auto heads = [&](auto step) {
    for (std::int64_t head = 0; head < shape.heads; ++head) (blas.*step)(head);
  };
  std::vector<Timed> candidates = {{.name = "OpenBLAS sgemm f32",
                                    .bytes = shape.elements() * 8,
                                    .run = [&] { heads(&Blas::gemm); }},
                                   {.name = "OpenBLAS sgemv f32",
                                    .bytes = shape.elements() * 8,
                                    .run = [&] { heads(&Blas::gemv); }}};
  struct Kind {
    kernels::Element element;
    DType dtype;
  };
  std::vector<std::unique_ptr<Cache>> caches;
  std::vector<std::unique_ptr<Step>> steps;
  for (const Kind kind : {Kind{kernels::Element::kF32, DType::kF32},
                          Kind{kernels::Element::kF16, DType::kF16},
                          Kind{kernels::Element::kBF16, DType::kBF16}})
    for (const Order order : {Order::kHeadFirst, Order::kSlotFirst}) {
      const int bytes = bytes_per_element(kind.dtype);
      caches.push_back(std::make_unique<Cache>(
          Cache{shape, order, kind.dtype, as_bytes(key, kind.element, bytes),
                as_bytes(value, kind.element, bytes)}));
      steps.push_back(std::make_unique<Step>(*caches.back(), query));
      Step* step = steps.back().get();
      candidates.push_back(
          {.name = fmt::format("kvtape {} {}", name(kind.dtype),
                               order == Order::kHeadFirst ? "[head,slot,dim]"
                                                          : "[slot,head,dim]"),
           .bytes = shape.elements() * 2 * bytes,
           .run = [step, &pool] { step->run(pool); }});
    }
  measure(candidates, rounds);
  fmt::print("{} slots, {} query heads, {} key heads, dim {}, {} thread(s)\n",
             shape.slots, shape.query_heads, shape.heads, shape.dim, threads);
  for (const Timed& candidate : candidates)
    fmt::print(
        "  {:28} {:8.2f} ms {:6.1f} GB/s  {:5.2f} x OpenBLAS\n", candidate.name,
        median(candidate.ms),
        static_cast<double>(candidate.bytes) / median(candidate.ms) / 1e6,
        ratio(candidates[0], candidates[1], candidate));
  fmt::print("  largest difference from OpenBLAS {:.1e}\n",
             largest_difference(steps[0]->output(), blas.output));
}

}  // namespace
}  // namespace kvtape

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  kvtape::Shape shape;
  if (argc > 2) shape.slots = std::atoi(argv[2]);
  if (argc > 4) {
    shape.query_heads = std::atoi(argv[3]);
    shape.heads = std::atoi(argv[4]);
  }
  for (const int threads : {1, 2}) kvtape::bench(shape, threads, rounds);
  return 0;
}
