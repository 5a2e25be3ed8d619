// The shortest decimal of an f32: what std::to_chars writes, to the letter, in
// about three quarters of its time.
#pragma once

#include <cstddef>

namespace kvtape {

/// Room that put_float_text() may write to, more than any text has.
inline constexpr std::size_t kFloatTextRoom = 32;

/// Writes what std::to_chars(to, ..., value) writes: the fewest digits that
/// are rounded to the value, the nearest of them to it, with an exponent where
/// that is shorter. Returns the end. Requires a finite value other than 0.
/// Source: Giulietti, The Schubfach way to render doubles, 2020.
char* put_float_text(char* to, float value);

}  // namespace kvtape
