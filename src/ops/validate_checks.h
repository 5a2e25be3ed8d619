// The groups of checks that validate() runs; one file each.
#pragma once

#include "core/thread_pool.h"
#include "kvtape/validate.h"
#include "ops/validate_findings.h"

namespace kvtape {

// Structure: shapes, words, and vectors of one number per row or step.
void check_metadata(const CacheMetadata& metadata, Findings& findings);
void check_presence(const Cache& cache, Findings& findings);
void check_shapes(const Cache& cache, Findings& findings);
void check_quantized(const Cache& cache, Findings& findings);
void check_marks(const Cache& cache, Findings& findings);
void check_agreement(const Cache& cache, Findings& findings);
void check_masks(const Cache& cache, Findings& findings);
void check_attention(const Cache& cache, Findings& findings);
void check_trace(const Tape& tape, Findings& findings);
void check_operations(const Tape& tape, Findings& findings);
void check_final(const Tape& tape, Findings& findings);

// Values: everything else that is stored.
void check_slots(const Tape& tape, ThreadPool& pool, const Progress& progress,
                 Findings& findings);
void check_small_values(const Tape& tape, Findings& findings);
void check_codes(const Cache& cache, Findings& findings);
void check_recorded_values(const Tape& tape, ThreadPool& pool,
                           Findings& findings);

}  // namespace kvtape
