// Elementary functions written out: the C library's pick a variant by CPU, and
// results must not depend on it. Relative errors are below 1e-15 in the ranges
// that rotary embedding and reports need; the arguments must be finite.
#pragma once

namespace kvtape {

/// Requires x > 0.
double log2_of(double x);

/// Requires |x| < 1000.
double exp2_of(double x);

struct SinCos {
  double sin = 0;
  double cos = 0;
};
/// Absolute error below 1e-15 for |angle| < 1e9.
SinCos sin_cos_of(double angle);

}  // namespace kvtape
