// One step over a long cache: bound by reading the cache once.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "blas_peer.h"
#include "machine.h"
#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "decode: one step over a long cache";

// What one thread must reach over the peers with f32 [head,slot].
struct PeerTargets {
  double torch = 0;
  double blas = 0;
};

PeerTargets peer_targets(const Shape& shape) {
  if (shape.group() == 4) return {3.4, 2.3};
  if (shape.group() == 8) return {2.3, 2.1};
  return shape.dim == 64 ? PeerTargets{2.5, 1.1} : PeerTargets{3.4, 1.65};
}

// How near a step comes to what binds it, and how near it must come.
struct Bound {
  double reached = 0;
  double target = 0;
  const char* measure = "of the read rate";
};

Bound bound_of(const DecodeCache& cache, double of_read, double of_flops) {
  const Shape& shape = cache.shape;
  if (cache.codes() && shape.group() == 1)
    return {of_read, 0.5};  // widening binds
  if (shape.group() == 1) return {of_read, 0.75};
  if (shape.heads == 1 && of_flops > of_read)
    return {of_flops, 0.6, "of the FMA peak"};
  return {of_read, 0.6};
}

class DecodeBench {
 public:
  DecodeBench(const Settings& settings, Results& results, const Shape& shape)
      : settings_(settings),
        results_(results),
        shape_(shape),
        query_(numbers(shape.query_heads * shape.dim, 1)) {}

  void run() {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const DecodeCache cache = decode_cache(shape_, dtype);
      for (const Order order : {Order::kHeadFirst, Order::kSlotFirst})
        run_order(cache, order);
    }
    const DecodeCache codes = decode_codes(shape_);
    for (const Order order : {Order::kHeadFirst, Order::kSlotFirst})
      run_order(codes, order);
  }

 private:
  std::string subject(const DecodeCache& cache, Order order,
                      int threads) const {
    return fmt::format("{} {} slots {} {} {}T", heads_text(shape_),
                       shape_.slots, cache.name(), name(order), threads);
  }

  void run_order(const DecodeCache& cache, Order order) {
    Decode decode(cache, order, query_);
    std::vector<Timed> all;
    std::vector<std::unique_ptr<ThreadPool>> pools;
    for (const int threads : {1, 2}) {
      pools.push_back(std::make_unique<ThreadPool>(threads));
      ThreadPool& pool = *pools.back();
      for (const kernels::Kernels& reading : reading_kernels())
        all.push_back(
            {.name = "read", .run = [&] { decode.run(reading, pool); }});
      all.push_back({.name = "kvtape",
                     .run = [&] { decode.run(kernels::active(), pool); }});
    }
    const bool peers = cache.dtype == DType::kF32 && order == Order::kHeadFirst;
    std::unique_ptr<BlasPeer> blas;
    if (peers) blas = add_peers(cache, all);
    measure(all, settings_.rounds);
    for (std::size_t i = 0; i < 2; ++i)
      report(subject(cache, order, static_cast<int>(i) + 1), cache, &all[3 * i],
             fma_flops(*pools[i]));
    const Timed& one = all[2];
    const Timed& two = all[5];
    results_.add({kSection, subject(cache, order, 2), "x one thread",
                  speedup(one, two), 1.8});
    if (peers) report_peers(subject(cache, order, 1), one, all);
    if (cache.dtype == DType::kF32 && order == Order::kHeadFirst)
      f32_seconds_ = median_of(one);
    if (cache.dtype != DType::kF32 && order == Order::kHeadFirst)
      results_.add({kSection, subject(cache, order, 1), "x our own f32",
                    f32_seconds_ / median_of(one),
                    shape_.group() == 1 ? std::optional(1.7) : std::nullopt});
  }

  std::unique_ptr<BlasPeer> add_peers(const DecodeCache& cache,
                                      std::vector<Timed>& all) {
    auto blas = std::make_unique<BlasPeer>(
        shape_, reinterpret_cast<const float*>(cache.key.data()),
        reinterpret_cast<const float*>(cache.value.data()), query_);
    all.push_back(
        {.name = "OpenBLAS", .run = [peer = blas.get()] { peer->run(1); }});
    if (settings_.torch != nullptr) {
      settings_.torch->prepare(shape_, 1);
      all.push_back({.name = "PyTorch",
                     .seconds = [this] { return settings_.torch->seconds(); }});
    }
    return blas;
  }

  // `timed`: both ways to read, of which the faster is the limit, and ours.
  void report(const std::string& subject, const DecodeCache& cache,
              const Timed* timed, double peak) {
    const Timed& ours = timed[2];
    const double seconds = median_of(ours);
    const double of_read =
        std::min(speedup(timed[0], ours), speedup(timed[1], ours));
    const Bound bound =
        bound_of(cache, of_read, shape_.flops() / seconds / peak);
    results_.add({kSection, subject, "GB/s",
                  static_cast<double>(cache.bytes()) / seconds / 1e9});
    results_.add(
        {kSection, subject, bound.measure, bound.reached, bound.target});
  }

  void report_peers(const std::string& subject, const Timed& ours,
                    const std::vector<Timed>& all) {
    const PeerTargets targets = peer_targets(shape_);
    results_.add(
        {kSection, subject, "x OpenBLAS", speedup(all[6], ours), targets.blas});
    if (all.size() > 7)
      results_.add({kSection, subject, "x PyTorch", speedup(all[7], ours),
                    targets.torch});
  }

  const Settings& settings_;
  Results& results_;
  Shape shape_;
  std::vector<float> query_;
  double f32_seconds_ = 0;
};

}  // namespace

void bench_decode(const Settings& settings, Results& results) {
  std::vector<std::int64_t> lengths{8192, 32768};
  if (settings.full) lengths.push_back(131072);
  for (const Shape& usual : usual_shapes())
    for (const std::int64_t slots : lengths) {
      Shape shape = usual;
      shape.slots = slots;
      DecodeBench(settings, results, shape).run();
    }
}

}  // namespace kvtape::bench
