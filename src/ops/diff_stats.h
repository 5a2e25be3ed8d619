// Adding up what a diff counts.
#pragma once

#include "kernels/difference.h"
#include "kvtape/diff.h"

namespace kvtape {

/// Adds a run of `count` pairs: the dims of one head of one token.
void add_token(const kernels::Difference& run, std::int64_t count,
               DiffStats& stats);

/// Adds what came after it.
void add(const DiffStats& later, DiffStats& stats);

/// Whether `a` is further off than `b`, or as far and earlier in a decode. A
/// mismatch of NaN or Inf is furthest.
bool worse(const DiffPoint& a, const DiffPoint& b);

/// Whether `a` comes before `b` in a decode: by position, layer, key before
/// value, row, head and dim.
bool earlier(const DiffPoint& a, const DiffPoint& b);

}  // namespace kvtape
