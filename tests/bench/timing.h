// Candidates timed side by side: every one once per round, so that a slow
// moment of the machine hits them all. Medians and paired ratios only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kvtape::bench {

struct Timed {
  std::string name;
  std::function<void()> run;
  /// Instead of run: a candidate that times itself, as another process does.
  std::function<double()> seconds;
  std::vector<double> rounds;  // seconds of each
};

double median(std::vector<double> values);

inline double median_of(const Timed& timed) { return median(timed.rounds); }

/// One round that is not counted, then `rounds` that are.
void measure(std::vector<Timed>& candidates, int rounds);

/// Median over the rounds of peer / candidate: how many times as fast as the
/// peer the candidate is.
double speedup(const Timed& peer, const Timed& candidate);

}  // namespace kvtape::bench
