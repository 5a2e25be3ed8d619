// The replay of one layer.
#pragma once

#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/kernels.h"
#include "kvtape/replay.h"
#include "ops/replay_problem.h"

namespace kvtape {

/// What is the same for all layers.
struct ReplayRun {
  const Tape* tape = nullptr;
  const ReplayOptions* options = nullptr;
  const kernels::Kernels* kernels = nullptr;
  ThreadPool* pool = nullptr;
  ReplayReport* report = nullptr;
  std::int64_t first_step = 0;  // compared
  std::int64_t last_step = 0;   // exclusive
  std::int64_t done = 0;        // tokens, for progress
  std::int64_t total = 0;
};

/// Replays a layer and adds it to the report as by_layer[layer_row].
/// Throws Error when tensors cannot be read.
void replay_layer(ReplayRun& run, const ReplayProblem& problem,
                  std::size_t layer_row);

}  // namespace kvtape
