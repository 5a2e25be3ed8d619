#include "timing.h"

#include <algorithm>
#include <chrono>

namespace kvtape::bench {
namespace {

double seconds_of(const Timed& candidate) {
  if (candidate.seconds) return candidate.seconds();
  const auto start = std::chrono::steady_clock::now();
  candidate.run();
  const std::chrono::duration<double> time =
      std::chrono::steady_clock::now() - start;
  return time.count();
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

void measure(std::vector<Timed>& candidates, int rounds) {
  for (int round = -1; round < rounds; ++round)
    for (Timed& candidate : candidates) {
      const double seconds = seconds_of(candidate);
      if (round >= 0) candidate.rounds.push_back(seconds);
    }
}

double speedup(const Timed& peer, const Timed& candidate) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < candidate.rounds.size(); ++round)
    ratios.push_back(peer.rounds[round] / candidate.rounds[round]);
  return median(ratios);
}

}  // namespace kvtape::bench
