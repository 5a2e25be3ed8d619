// What the machine can do at most: the same walk over the same bytes with
// nothing but loads, and multiplications on registers alone.
#pragma once

#include <array>

#include "core/thread_pool.h"
#include "kernels/kernels.h"

namespace kvtape::bench {

/// Kernels that load every key and value once, in the order in which attention
/// does, and compute nothing: attend() with them measures the read limit. The
/// second ones ask for memory ahead as attention does; either may be faster.
const std::array<kernels::Kernels, 2>& reading_kernels();

/// Fused multiplications and additions of f32 per second, two operations each,
/// of all workers of a pool.
double fma_flops(ThreadPool& pool);

}  // namespace kvtape::bench
