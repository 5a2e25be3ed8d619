// Standard output, standard error and output files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvtape/error.h"

namespace kvtape {
class AtomicFile;
}

namespace kvtape::cli {

/// Opens /dev/null in place of closed standard streams, so that no file opened
/// later takes their numbers.
void prepare_streams();

/// The name of an output that is no file.
inline constexpr std::string_view kStandardOutput = "-";

/// Throws Error where a file could not be written later: it exists (without
/// `force`), is one of the inputs, or its folder cannot be written.
void check_output(const std::string& path, bool force,
                  const std::vector<std::string>& inputs = {});

/// The same for a cache file, which cannot be streamed.
void check_cache_output(const std::string& path, bool force,
                        const std::vector<std::string>& inputs = {});

/// Writes a file as a whole. Throws Error.
void write_text(const std::string& path, std::string_view text, bool force);

/// Text that is written as it comes: to standard output, or to a file that
/// appears whole or not at all.
class TextOutput {
 public:
  /// Throws Error where check_output() would.
  TextOutput(const std::string& path, bool force,
             const std::vector<std::string>& inputs);
  ~TextOutput();

  /// Each throws Error.
  void write(std::string_view text);
  void commit();

 private:
  std::unique_ptr<AtomicFile> file_;  // none: standard output
  std::int64_t written_ = 0;
};

/// Writes all of it. Throws Error when that fails.
void write_stdout(std::string_view text);

/// Writes what can be written: there is nobody to tell where it cannot.
void write_stderr(std::string_view text);

/// The error said of `file`, unless it is of something that is no file: an
/// option, the environment.
Error located(const Error& error, const std::string& file);

/// `kvtape: error: FILE: OBJECT: FIELD: TEXT` and the hint, made safe to print.
void print_error(const Error& error);

/// `text` in lines of at most 80 columns; all but the first begin with
/// `indent` blanks, and `column` are taken on the first.
std::string wrapped(std::string_view text, int indent, int column);

}  // namespace kvtape::cli
