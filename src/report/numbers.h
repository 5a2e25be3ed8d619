// Numbers as text; nothing here depends on the locale.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace kvtape {

/// "6,291,456".
std::string count_text(std::int64_t count);

/// "512 bytes", "16.4 kB", "12.6 MB": powers of 1000, three digits.
std::string bytes_text(std::int64_t bytes);

/// A size of an error: "6.80e-03", "0", "NaN", "Infinity".
std::string error_text(double error, int precision);

/// A setting as somebody wrote it, in the fewest digits: "0.125", "1e-3".
std::string setting_text(double value);

/// Two values in six digits, in `precision` if that is more, or in as many as
/// it takes to tell them apart.
std::pair<std::string, std::string> value_pair(double first, double second,
                                               int precision);

/// "3.1%" of two counts; a part that is not nothing is never "0%", one that is
/// not all is never "100%".
std::string percent_text(std::int64_t part, std::int64_t whole);

/// The shortest text that reads back to the same f64, always recognisable as
/// no integer: "0.1", "1.0", "-0.0", "1e+100". Requires a finite value.
std::string shortest_text(double value);

/// "NaN", "Infinity" or "-Infinity" of a value that is not finite.
std::string nonfinite_text(double value);

/// log10 of a positive finite value, the same bits everywhere: libm's may
/// differ from one CPU to the next.
double log10_of(double value);

}  // namespace kvtape
