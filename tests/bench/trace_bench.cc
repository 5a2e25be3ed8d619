// Many steps over one cache: bound by arithmetic. Only what causality lets a
// token see is counted; the peers compute, and are counted, for all of it.
#include <fmt/format.h>

#include "blas_peer.h"
#include "machine.h"
#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "trace: 512 steps over one cache";
constexpr std::int64_t kSteps = 512;

// What must be reached over OpenBLAS and PyTorch.
struct PeerTargets {
  std::optional<double> blas;
  std::optional<double> torch;
};

PeerTargets peer_targets(const Shape& shape) {
  if (shape.group() == 4) return {1.2, 2.0};
  if (shape.group() == 8) return {1.0, 1.2};
  return {};
}

double all_flops(const Shape& shape) {
  return 4.0 * static_cast<double>(shape.tokens * shape.slots *
                                   shape.query_heads * shape.dim);
}

class TraceBench {
 public:
  TraceBench(const Settings& settings, Results& results, const Shape& shape)
      : settings_(settings),
        results_(results),
        shape_(shape),
        rounds_(shape.slots > 8192 ? 3 : settings.rounds),
        query_(numbers(shape.tokens * shape.query_heads * shape.dim, 1)) {}

  void run() {
    for (const int threads : {1, 2}) {
      f32_rate_ = 0;
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
        run_dtype(dtype, threads);
    }
  }

 private:
  void run_dtype(DType dtype, int threads) {
    const DecodeCache cache = decode_cache(shape_, dtype);
    Decode decode(cache, Order::kHeadFirst, query_);
    ThreadPool pool(threads);
    std::vector<double> peaks;
    std::vector<Timed> all{
        {.name = "kvtape", .run = [&] { decode.run(kernels::active(), pool); }},
        {.name = "peak", .run = [&] { peaks.push_back(fma_flops(pool)); }}};
    std::unique_ptr<BlasPeer> blas;
    if (dtype == DType::kF32) {
      blas = std::make_unique<BlasPeer>(
          shape_, reinterpret_cast<const float*>(cache.key.data()),
          reinterpret_cast<const float*>(cache.value.data()), query_);
      all.push_back({.name = "OpenBLAS", .run = [&] { blas->run(threads); }});
      if (settings_.torch != nullptr) add_torch(threads, all);
    }
    measure(all, rounds_);
    report(fmt::format("{} {} slots {} {}T", heads_text(shape_), shape_.slots,
                       kvtape::name(dtype), threads),
           all, median(peaks));
  }

  void add_torch(int threads, std::vector<Timed>& all) {
    settings_.torch->prepare(shape_, threads);
    all.push_back({.name = "PyTorch",
                   .seconds = [this] { return settings_.torch->seconds(); }});
  }

  void report(const std::string& subject, const std::vector<Timed>& all,
              double peak) {
    const double rate = shape_.flops() / median_of(all[0]);
    results_.add({kSection, subject, "GFLOP/s", rate / 1e9});
    results_.add({kSection, subject, "of the FMA peak", rate / peak, 0.6});
    if (f32_rate_ == 0) f32_rate_ = rate;
    if (all.size() == 2)
      results_.add({kSection, subject, "x our own f32", rate / f32_rate_, 0.9});
    const double share = shape_.flops() / all_flops(shape_);
    const PeerTargets targets = peer_targets(shape_);
    if (all.size() > 2)
      results_.add({kSection, subject, "x OpenBLAS' rate",
                    speedup(all[2], all[0]) * share, targets.blas});
    if (all.size() > 3)
      results_.add({kSection, subject, "x PyTorch's rate",
                    speedup(all[3], all[0]) * share, targets.torch});
  }

  const Settings& settings_;
  Results& results_;
  Shape shape_;
  int rounds_;
  std::vector<float> query_;
  double f32_rate_ = 0;
};

}  // namespace

void bench_trace(const Settings& settings, Results& results) {
  std::vector<std::int64_t> lengths{4096};
  if (settings.full) lengths.push_back(32768);
  for (const Shape& usual : usual_shapes())
    for (const std::int64_t slots : lengths) {
      Shape shape = usual;
      shape.slots = slots;
      shape.tokens = kSteps;
      TraceBench(settings, results, shape).run();
    }
}

}  // namespace kvtape::bench
