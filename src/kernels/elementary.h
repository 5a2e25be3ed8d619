// Functions of libm that reach output, written out: glibc chooses variants by
// CPU, so its results differ between machines.
#pragma once

namespace kvtape::kernels {

struct SinCos {
  double sine = 0;
  double cosine = 0;
};

/// Absolute error below 3e-16 for |angle| <= 2^30; NaN beyond.
SinCos sin_cos(double angle);

/// Base 2 logarithm of a finite x > 0, NaN for others; relative error below
/// 1e-15.
double log2(double x);

/// 2^x; relative error below 1e-15 times max(1, |x|/16), 0 and Inf where it
/// does not fit a normal number.
double exp2(double x);

}  // namespace kvtape::kernels
