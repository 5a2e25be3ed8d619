// What the terminal and the environment say about how text should look.
#pragma once

#include "report/style.h"

namespace kvtape::cli {

enum class ColorWhen { kAuto, kAlways, kNever };

/// The style of standard output. A flag beats NO_COLOR, TERM, LC_ALL, LC_CTYPE,
/// LANG and COLUMNS.
TextStyle terminal_style(ColorWhen color, bool ascii, int verbosity);

/// Whether a line on standard error can be written over.
bool stderr_is_terminal();

/// Columns of the terminal behind a file descriptor, 80 where there is none.
int terminal_width(int descriptor);

}  // namespace kvtape::cli
