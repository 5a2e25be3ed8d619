// Standard output, standard error and output files.
#include "cli/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include "io/atomic_file.h"
#include "io/input_file.h"
#include "report/text.h"

namespace kvtape::cli {
namespace {

// Returns 0, or errno.
int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void prepare_streams() {
  // Reading and writing the wrong way round: a write to a stream that was
  // closed is an error here too.
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    const int mode = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (open("/dev/null", mode) != descriptor) _exit(2);
  }
}

namespace {

void refuse_inputs(const std::string& path,
                   const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    std::error_code ignored;
    if (std::filesystem::equivalent(path, input, ignored))
      throw Error({.file = path,
                   .text = "is a file that is read",
                   .hint = "write to another name"});
  }
}

}  // namespace

void check_output(const std::string& path, bool force,
                  const std::vector<std::string>& inputs) {
  refuse_inputs(path, inputs);
  const AtomicFile probe(path, force);  // removed again
}

void check_cache_output(const std::string& path, bool force,
                        const std::vector<std::string>& inputs) {
  if (path == kStandardOutput)
    throw Error({.file = path,
                 .text = "a cache cannot be written to standard output",
                 .hint = "name a file"});
  check_output(path, force, inputs);
}

void write_text(const std::string& path, std::string_view text, bool force) {
  AtomicFile file(path, force);
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

TextOutput::TextOutput(const std::string& path, bool force,
                       const std::vector<std::string>& inputs) {
  if (path == kStandardOutput) return;
  refuse_inputs(path, inputs);
  file_ = std::make_unique<AtomicFile>(path, force);
}

TextOutput::~TextOutput() = default;

void TextOutput::write(std::string_view text) {
  if (!file_) return write_stdout(text);
  file_->write(written_, std::as_bytes(std::span(text)));
  written_ += std::ssize(text);
}

void TextOutput::commit() {
  check_inputs_unchanged();
  if (file_) file_->commit();
}

void write_stdout(std::string_view text) {
  if (text.empty()) return;
  if (const int failure = write_all(STDOUT_FILENO, text))
    throw Error({.text = fmt::format("write error: {}", strerror(failure))});
}

void write_stderr(std::string_view text) { write_all(STDERR_FILENO, text); }

Error located(const Error& error, const std::string& file) {
  const std::string& object = error.parts().object;
  const bool of_file = object.starts_with('/') ||
                       (object.empty() && error.parts().field.empty());
  return of_file ? error.in_file(file) : error;
}

void print_error(const Error& error) {
  ErrorParts parts = error.parts();
  for (std::string* part : {&parts.file, &parts.object, &parts.field,
                            &parts.expected, &parts.found, &parts.text})
    *part = printable(*part);
  std::string text = fmt::format("kvtape: error: {}\n", Error(parts).what());
  if (!parts.hint.empty()) {
    constexpr std::string_view kHint = "  hint: ";
    constexpr int kColumn = static_cast<int>(kHint.size());
    text += fmt::format("{}{}\n", kHint,
                        wrapped(printable(parts.hint, 2000), kColumn, kColumn));
  }
  write_stderr(text);
}

std::string wrapped(std::string_view text, int indent, int column) {
  constexpr std::size_t kWidth = 80;
  std::string out;
  std::size_t used = static_cast<std::size_t>(column);
  bool line_is_empty = true;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, blank);
    if (!line_is_empty && used + 1 + word.size() > kWidth) {
      out += '\n' + std::string(static_cast<std::size_t>(indent), ' ');
      used = static_cast<std::size_t>(indent);
      line_is_empty = true;
    }
    if (!line_is_empty) out += ' ';
    out += word;
    used += word.size() + (line_is_empty ? 0 : 1);
    line_is_empty = false;
    text.remove_prefix(std::min(text.size(), blank + 1));
  }
  return out;
}

}  // namespace kvtape::cli
