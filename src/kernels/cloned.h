// Functions on vectors of fixed lanes, compiled twice: for any CPU and for
// AVX2. Their results are the same bits, however many lanes an instruction
// takes; the loader chooses.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define KVTAPE_CLONED __attribute__((target_clones("default", "avx2")))
#else
#define KVTAPE_CLONED
#endif
