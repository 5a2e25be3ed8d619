// TransformerLens' append, one token at a time, against one append of all.
//   append_bench [ROUNDS]
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "kvtape/transformer_lens.h"
#include "timing.h"

namespace kvtape::bench {
namespace {

using transformer_lens::KeyValueCacheEntry;

constexpr std::int64_t kTokens = 10000;
constexpr std::int64_t kHeads = 32;
constexpr std::int64_t kDim = 128;
constexpr std::size_t kTokenBytes = kHeads * kDim * 2;
constexpr double kTarget = 1.5;

Tensor tokens(std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * kTokenBytes,
                               std::byte{1});
  return make_tensor(DType::kF16,
                     {{AxisKind::kBatch, "batch", 1},
                      {AxisKind::kPosition, "pos", count},
                      {AxisKind::kHead, "n_heads", kHeads},
                      {AxisKind::kDim, "d_head", kDim}},
                     std::move(bytes));
}

void append(const Tensor& rows, std::int64_t times) {
  auto entry = KeyValueCacheEntry::init_cache_entry(
      {.n_heads = kHeads, .d_head = kDim, .dtype = DType::kF16});
  for (std::int64_t i = 0; i < times; ++i) entry.append(rows, rows);
}

// One token's keys, or values, again and again.
void copy_tokens() {
  static std::vector<std::byte> from(kTokenBytes), to(kTokenBytes);
  for (std::int64_t i = 0; i < kTokens; ++i) {
    std::memcpy(to.data(), from.data(), kTokenBytes);
    asm volatile("" : : "r"(to.data()) : "memory");
  }
}

int run(int rounds) {
  const Tensor one = tokens(1);
  const Tensor all = tokens(kTokens);
  std::vector<Timed> timed{
      {.name = "10,000 appends of 1", .run = [&] { append(one, kTokens); }},
      {.name = "1 append of 10,000", .run = [&] { append(all, 1); }},
      {.name = "10,000 memcpy of 1", .run = copy_tokens}};
  measure(timed, rounds);
  for (const Timed& each : timed)
    fmt::print("{:>20}: {:8.2f} ms\n", each.name, median_of(each) * 1e3);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < timed[0].rounds.size(); ++i)
    ratios.push_back(timed[0].rounds[i] /
                     (timed[1].rounds[i] + timed[2].rounds[i]));
  const double ratio = median(ratios);
  fmt::print("ratio {:.2f}, at most {}: {}\n", ratio, kTarget,
             ratio <= kTarget ? "met" : "not met");
  return 0;
}

}  // namespace
}  // namespace kvtape::bench

int main(int argc, char** argv) {
  return kvtape::bench::run(argc > 1 ? std::atoi(argv[1]) : 9);
}
