// The parts of the replay benchmark; each adds its results.
#pragma once

#include "decode_case.h"
#include "results.h"
#include "timing.h"
#include "torch_peer.h"

namespace kvtape::bench {

struct Settings {
  int rounds = 7;
  bool full = false;           // the longest caches too
  TorchPeer* torch = nullptr;  // where it is installed
};

/// "(32,8,128)": query heads, key heads, dim.
std::string heads_text(const Shape& shape);

/// Multi-head, grouped, multi-query, and multi-head with small heads.
std::vector<Shape> usual_shapes();

void bench_machine(Results& results);
void bench_decode(const Settings& settings, Results& results);
void bench_trace(const Settings& settings, Results& results);
void bench_accuracy(const Settings& settings, Results& results);
void bench_growth(const Settings& settings, Results& results);
void bench_scalar(const Settings& settings, Results& results);
void bench_file(const Settings& settings, Results& results);

}  // namespace kvtape::bench
