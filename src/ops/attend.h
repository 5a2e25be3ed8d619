// Attention of a few tokens over one batch row of one layer: splits the work
// over threads and puts the kernels' partial results together in fixed order.
#pragma once

#include <cstdint>
#include <span>

#include "core/slab.h"
#include "core/thread_pool.h"
#include "kernels/kernels.h"
#include "kvtape/attention.h"

namespace kvtape {

/// A run of kernels::kSpan slots, aligned to it; the last one may be shorter.
/// Any float dtype and strides.
struct Page {
  SlabView key;    // [slot, key_head, key_dim]
  SlabView value;  // [slot, value_head, value_dim]
};

/// The slots that one token sees: those in [first, last) whose mask is not 0.
struct VisibleSlots {
  std::int64_t first = 0;
  std::int64_t last = 0;
  const std::uint8_t* mask = nullptr;  // [slot]; null = no mask
};

struct AttendProblem {
  std::span<const Page> pages;
  std::int64_t slots = 0;  // all pages together
  Attention attention;
  std::int64_t key_heads = 0;
  std::int64_t value_heads = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  const float* query = nullptr;  // [token, query_head, key_dim]
  std::span<const VisibleSlots> tokens;
  float* output = nullptr;  // [token, query_head, value_dim]
};

/// Fills problem.output. The same bytes for every kernel, number of threads
/// and split into calls. Requires heads that divide.
void attend(const AttendProblem& problem, const kernels::Kernels& kernels,
            ThreadPool& pool);

}  // namespace kvtape
