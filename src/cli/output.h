// Standard output and standard error.
#pragma once

#include <string>
#include <string_view>

#include "kvtape/error.h"

namespace kvtape::cli {

/// Opens /dev/null in place of closed standard streams, so that no file opened
/// later takes their numbers, and lets a broken pipe end the program.
void prepare_streams();

/// Writes all of it. Throws Error when that fails.
void write_stdout(std::string_view text);

/// Writes what can be written: there is nobody to tell where it cannot.
void write_stderr(std::string_view text);

/// `kvtape: error: FILE: OBJECT: FIELD: TEXT` and the hint, made safe to print.
void print_error(const Error& error);

/// `text` in lines of at most 80 columns; all but the first begin with
/// `indent` blanks, and `column` are taken on the first.
std::string wrapped(std::string_view text, int indent, int column);

}  // namespace kvtape::cli
