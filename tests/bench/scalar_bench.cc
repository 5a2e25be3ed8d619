// The scalar kernels against AVX2, and against the loop that anybody would
// write, compiled as everything else is.
#include <fmt/format.h>

#include <cmath>

#include "kernels/dispatch.h"
#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "scalar kernels";

// Two passes over one head; one accumulator per output.
void plain_head(const Shape& shape, const float* query, const float* key,
                const float* value, std::vector<float>& weights, float* out) {
  const std::int64_t dim = shape.dim;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  float max = -INFINITY;
  for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
    float score = 0;
    for (std::int64_t d = 0; d < dim; ++d)
      score += query[d] * key[slot * dim + d];
    weights[static_cast<std::size_t>(slot)] = score * scale;
    max = std::max(max, score * scale);
  }
  float sum = 0;
  std::fill(out, out + dim, 0.0F);
  for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
    const float p = std::exp(weights[static_cast<std::size_t>(slot)] - max);
    sum += p;
    for (std::int64_t d = 0; d < dim; ++d) out[d] += p * value[slot * dim + d];
  }
  for (std::int64_t d = 0; d < dim; ++d) out[d] /= sum;
}

void plain(const Shape& shape, const std::vector<float>& query,
           const DecodeCache& cache, std::vector<float>& out) {
  const auto* key = reinterpret_cast<const float*>(cache.key.data());
  const auto* value = reinterpret_cast<const float*>(cache.value.data());
  std::vector<float> weights(static_cast<std::size_t>(shape.slots));
  for (std::int64_t head = 0; head < shape.query_heads; ++head) {
    const std::int64_t at = head / shape.group() * shape.slots * shape.dim;
    plain_head(shape, query.data() + head * shape.dim, key + at, value + at,
               weights, out.data() + head * shape.dim);
  }
}

}  // namespace

void bench_scalar(const Settings& settings, Results& results) {
  for (Shape shape : usual_shapes()) {
    shape.slots = 4096;
    const DecodeCache cache = decode_cache(shape, DType::kF32);
    const auto query = numbers(shape.query_heads * shape.dim, 1);
    Decode decode(cache, Order::kHeadFirst, query);
    std::vector<float> out(query.size());
    ThreadPool pool(1);
    std::vector<Timed> all{
        {.name = "plain", .run = [&] { plain(shape, query, cache, out); }},
        {.name = "scalar", .run = [&] { decode.run(kernels::kScalar, pool); }},
        {.name = "active",
         .run = [&] { decode.run(kernels::active(), pool); }}};
    measure(all, settings.rounds);
    results.add({kSection, heads_text(shape) + " 4096 slots f32 1T",
                 "x a plain loop", speedup(all[0], all[1])});
    results.add({kSection, heads_text(shape) + " 4096 slots f32 1T",
                 fmt::format("x for {}", kernels::active().name),
                 speedup(all[1], all[2])});
  }
}

}  // namespace kvtape::bench
