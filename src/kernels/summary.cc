#include "kernels/summary.h"

#include <algorithm>
#include <cmath>

#include "kernels/cloned.h"
#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

using Half = double __attribute__((vector_size(32)));  // of the lanes
using HalfCount = std::int64_t __attribute__((vector_size(32)));

// 8 -> 4 -> 2 -> 1.
[[gnu::always_inline]] inline double folded(const Half& low, const Half& high) {
  const Half four = low + high;
  return (four[0] + four[2]) + (four[1] + four[3]);
}

[[gnu::always_inline]] inline Half half_at(const double* values) {
  return load<Half>(reinterpret_cast<const std::byte*>(values));
}

[[gnu::always_inline]] inline void take(const Half& value, Half& min, Half& max,
                                        HalfCount& zeros) {
  min = value < min ? value : min;
  max = value > max ? value : max;
  zeros -= value == 0.0;
}

// Of a whole block without NaN and Inf; nothing of use where it has some.
KVTAPE_CLONED Summary fast_summary(const double* values) {
  constexpr std::int64_t kHalf = kLanes / 2;
  constexpr double kInf = std::numeric_limits<double>::infinity();
  Half low{};
  Half high{};
  Half min = Half{} + kInf;
  Half max = Half{} - kInf;
  HalfCount zeros{};
  for (std::int64_t i = 0; i < kSummaryBlock; i += kLanes) {
    const Half first = half_at(values + i);
    const Half second = half_at(values + i + kHalf);
    low += first;
    high += second;
    take(first, min, max, zeros);
    take(second, min, max, zeros);
  }
  Summary summary{.count = kSummaryBlock, .sum = folded(low, high)};
  for (int lane = 0; lane < kHalf; ++lane) {
    summary.min = std::min(summary.min, min[lane]);
    summary.max = std::max(summary.max, max[lane]);
    summary.zeros += zeros[lane];
  }
  const double mean = summary.sum / kSummaryBlock;
  low = high = Half{};
  for (std::int64_t i = 0; i < kSummaryBlock; i += kLanes) {
    const Half first = half_at(values + i) - mean;
    const Half second = half_at(values + i + kHalf) - mean;
    low += first * first;
    high += second * second;
  }
  summary.squares = folded(low, high);
  return summary;
}

// The same of any block, number by number.
Summary slow_summary(const double* values, std::int64_t count) {
  Summary summary{.count = count};
  std::array<double, kLanes> sums{};
  const auto lane = [](std::int64_t i) {
    return static_cast<std::size_t>(i % kLanes);
  };
  const auto fold = [](const std::array<double, kLanes>& s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = values[i];
    summary.nan += std::isnan(value);
    summary.inf += std::isinf(value);
    if (!std::isfinite(value)) continue;
    summary.zeros += value == 0;
    summary.min = std::min(summary.min, value);
    summary.max = std::max(summary.max, value);
    sums[lane(i)] += value;
  }
  summary.sum = fold(sums);
  if (summary.finite() == 0) return summary;
  const double mean = summary.mean();
  sums.fill(0);
  for (std::int64_t i = 0; i < count; ++i) {
    const double distance = values[i] - mean;
    if (std::isfinite(values[i])) sums[lane(i)] += distance * distance;
  }
  summary.squares = fold(sums);
  return summary;
}

}  // namespace

double Summary::mean() const { return sum / static_cast<double>(finite()); }

double Summary::std() const {
  return std::sqrt(squares / static_cast<double>(finite()));
}

Summary merged(const Summary& a, const Summary& b) {
  Summary result{.count = a.count + b.count,
                 .zeros = a.zeros + b.zeros,
                 .nan = a.nan + b.nan,
                 .inf = a.inf + b.inf,
                 .min = std::min(a.min, b.min),
                 .max = std::max(a.max, b.max),
                 .sum = a.sum + b.sum,
                 .squares = a.squares + b.squares};
  if (a.finite() == 0 || b.finite() == 0) return result;
  const double apart = b.mean() - a.mean();
  const auto x = static_cast<double>(a.finite());
  const auto y = static_cast<double>(b.finite());
  result.squares += apart * apart * (x * y / (x + y));
  return result;
}

// A sum that is finite has no NaN and no Inf in it.
void Summarizer::end_block() {
  Summary block;
  if (filled_ == kSummaryBlock) block = fast_summary(block_.data());
  if (filled_ < kSummaryBlock || !std::isfinite(block.sum))
    block = slow_summary(block_.data(), filled_);
  total_ = merged(total_, block);
  filled_ = 0;
}

void Summarizer::add(const double* values, std::int64_t count) {
  add(reinterpret_cast<const std::byte*>(values), Element::kF64, count);
}

void Summarizer::add(const std::byte* data, Element element,
                     std::int64_t count) {
  std::array<float, kSummaryBlock> floats;
  while (count > 0) {
    const std::int64_t taken = std::min(count, kSummaryBlock - filled_);
    double* to = block_.data() + filled_;
    if (element == Element::kF64) {
      for (std::int64_t i = 0; i < taken; ++i)
        to[i] = load<double>(data + i * bytes_of(element));
    } else {
      active().widen(data, element, 1, taken, floats.data());
      for (std::int64_t i = 0; i < taken; ++i)
        to[i] = static_cast<double>(floats[static_cast<std::size_t>(i)]);
    }
    data += taken * bytes_of(element);
    count -= taken;
    filled_ += taken;
    if (filled_ == kSummaryBlock) end_block();
  }
}

Summary Summarizer::total() const {
  Summarizer rest(*this);
  if (rest.filled_ > 0) rest.end_block();
  return rest.total_;
}

}  // namespace kvtape::kernels
